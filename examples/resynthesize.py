"""The same content in three other voices, and how much of it a model hears again.

python examples/resynthesize.py [RECORDING] [FOLDER]
"""

import sys
from pathlib import Path

import audiolm


def main(recording: Path, folder: Path) -> None:
    """Write three renderings into `folder`, and print how many semantic ids came back."""
    folder.mkdir(parents=True, exist_ok=True)
    lm = audiolm.load("speech")
    audio = audiolm.read(recording)
    said = lm.tokenize(audio).semantic  # (S,): what is said, and not by whom
    for seed in range(3):
        other = lm.acoustic_generation(audio, seed=seed)
        other.write(folder / f"voice-{seed}.wav")
        again = lm.tokenize(other).semantic  # (S,)
        same = (said == again).float().mean().item()
        print(f"voice-{seed}.wav: {same:.0%} of {len(said)} semantic ids are heard again")


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(
        given[0] if given else audiolm.example_prompt(), given[1] if len(given) > 1 else Path("out")
    )
