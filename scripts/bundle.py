"""Put a trained model into the package: `python scripts/bundle.py RUN NAME`.

Copies the parts of RUN (a folder that `audiolm train` made) to src/audiolm/models/NAME, with the
licence and data that its card states; nothing of RUN/training comes along. The card itself,
models/NAME/MODEL_CARD.md, is written by hand.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import audiolm
from audiolm.model_io.folder import load_part, save_part
from audiolm.model_io.manifest import read_manifest
from audiolm.parts import DETECTOR

MODELS = Path(__file__).parents[1] / "src" / "audiolm" / "models"
ORDER = [
    "codec",
    "semantic",
    "stage_semantic",
    "stage_coarse",
    "stage_fine",
    "stage_acoustic_only",
    "stage_parallel",
]
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


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, load, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="model folder that audiolm train made")
    parser.add_argument("name", choices=sorted(ABOUT), help="what the bundled model is called")
    arguments = parser.parse_args(words)
    lm = audiolm.load(arguments.run, device="cpu")
    about: dict[str, Any] = ABOUT[arguments.name]
    data = {**lm.info.data, **about["data"]}
    data.pop("started_from", None)  # a folder's name means nothing elsewhere; the card tells it
    told = {**lm.info.model_dump(), **about, "data": data, "name": arguments.name}
    for name in sorted(lm.parts, key=ORDER.index):  # one by one: card and prompt stay as they are
        save_part(MODELS / arguments.name, name, lm.parts[name], told)
    if DETECTOR.name in read_manifest(arguments.run).parts:
        detector = load_part(arguments.run, DETECTOR.name)
        save_part(MODELS / arguments.name, DETECTOR.name, detector, told)
    print(f"{MODELS / arguments.name}: {lm.fingerprint}")


if __name__ == "__main__":
    main()
