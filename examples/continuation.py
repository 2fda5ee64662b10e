"""Continue the bundled prompt three times, then hear what each kind of token holds.

python examples/continuation.py [FOLDER]
"""

import sys
from pathlib import Path

import audiolm


def main(folder: Path) -> None:
    """Write the example's WAV files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lm = audiolm.load("speech")
    prompt = audiolm.read(audiolm.example_prompt())

    for seed in range(3):  # one seed, one continuation
        lm.continuation(prompt, seconds=7, seed=seed).write(folder / f"continuation-{seed}.wav")

    # The codes of the first levels alone: the voice, coarsely.
    lm.reconstruction(prompt, levels=1).write(folder / "one-level.wav")
    # The semantic ids alone: the same content, a voice that the coarse stage makes up.
    lm.acoustic_generation(prompt, seed=0).write(folder / "other-voice.wav")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
