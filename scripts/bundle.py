"""Put a trained model into the package: `python scripts/bundle.py RUN NAME`.

Copies the parts of RUN (a folder that `audiolm train` made) to src/audiolm/models/NAME, with the
licence and data that its card states; nothing of RUN/training comes along. The card itself,
models/NAME/MODEL_CARD.md, is written by hand. With --only PART nothing else is changed.
"""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import audiolm
from audiolm.model_io.folder import save_part
from audiolm.model_io.manifest import read_manifest, write_manifest

MODELS = Path(__file__).parents[1] / "src" / "audiolm" / "models"
ORDER = [
    "codec",
    "semantic",
    "stage_semantic",
    "stage_coarse",
    "stage_fine",
    "stage_acoustic_only",
    "stage_parallel",
    "detector",
]
ABOUT = {
    "speech": {
        "licence": "CC BY 4.0",
        "data": {
            "corpus": "LibriSpeech train-clean-100, 2,583 utterances of 251 speakers, 8.86 h; "
            "decoder, semantic, coarse and parallel stage speechocean762 as well, 1,921 utterances "
            "of 95 speakers, 1.75 h",
            "source": "V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015; J. Zhang et "
            "al., Interspeech 2021",
            "licence": "CC BY 4.0",
            "datasets": ["openslr/librispeech_asr", "mispeech/speechocean762"],  # on the hub
            "language": "en",
        },
    },
    "piano": {
        "licence": "CC BY-SA 3.0 DE",
        "data": {
            "corpus": "performances of piano-midi.de, rendered by scripts/render_piano.py",
            "source": "Bernd Krueger, www.piano-midi.de",
            "licence": "CC BY-SA 3.0 DE",
        },
    },
}


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, load, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="model folder that audiolm train made")
    parser.add_argument("name", choices=sorted(ABOUT), help="what the bundled model is called")
    parser.add_argument("--only", choices=ORDER, help="this part; all others stay as they are")
    arguments = parser.parse_args(words)
    lm = audiolm.load(arguments.run, device="cpu")
    if arguments.only is not None:
        folder, name = MODELS / arguments.name, arguments.only
        print(f"{folder}: {name} {save_part(folder, name, lm.parts[name])}")
        return
    about: dict[str, Any] = ABOUT[arguments.name]
    data = {**lm.info.data, **about["data"]}
    data.pop("started_from", None)  # a folder's name means nothing elsewhere; the card tells it
    told = {**lm.info.model_dump(), **about, "data": data, "name": arguments.name}
    for name in sorted(lm.parts, key=ORDER.index):  # one by one: card and prompt stay as they are
        save_part(MODELS / arguments.name, name, lm.parts[name], told)
    leave_out(MODELS / arguments.name, lm.parts)
    print(f"{MODELS / arguments.name}: {lm.fingerprint}")


def leave_out(folder: Path, kept: Collection[str]) -> None:
    """Remove the parts of a bundled model that the new one does not have."""
    manifest = read_manifest(folder)
    gone = {name: entry for name, entry in manifest.parts.items() if name not in kept}
    there = {name: entry for name, entry in manifest.parts.items() if name in kept}
    write_manifest(folder, manifest.model_copy(update={"parts": there}))
    for entry in gone.values():
        (folder / entry.file).unlink()


if __name__ == "__main__":
    main()
