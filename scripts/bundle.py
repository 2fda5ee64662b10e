"""Put a trained model into the package: `python scripts/bundle.py RUN NAME`.

Copies the parts of RUN (a folder that `audiolm train` made) to src/audiolm/models/NAME, with the
name, licence and data that its card states; nothing of RUN/training comes along. The card itself,
models/NAME/MODEL_CARD.md, is written by hand.
"""

import argparse
from pathlib import Path

import audiolm

MODELS = Path(__file__).parents[1] / "src" / "audiolm" / "models"
ABOUT = {
    "speech": {
        "licence": "CC BY 4.0",
        "data": {
            "corpus": "LibriSpeech train-clean-100, 2,583 utterances of 251 speakers, 8.86 h",
            "source": "V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015",
            "licence": "CC BY 4.0",
        },
    }
}


def main() -> None:
    """Read the command line, load, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="model folder that audiolm train made")
    parser.add_argument("name", choices=sorted(ABOUT), help="what the bundled model is called")
    arguments = parser.parse_args()
    lm = audiolm.load(arguments.run, device="cpu")
    about = ABOUT[arguments.name]
    lm.name = arguments.name
    lm.info = lm.info.model_copy(update={**about, "data": {**lm.info.data, **about["data"]}})
    lm.save(MODELS / arguments.name)
    print(f"{MODELS / arguments.name}: {lm.fingerprint}")


if __name__ == "__main__":
    main()
