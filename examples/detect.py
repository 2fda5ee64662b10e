"""Make a continuation, and find out that it was made.

python examples/detect.py [RECORDING...]

Without recordings: the bundled prompt, its continuation, and both one after the other.
"""

import sys
from pathlib import Path

import numpy as np

import audiolm


def main(recordings: list[Path]) -> None:
    """Print what can be said of each recording."""
    if recordings:
        sounds = {path.name: audiolm.read(path) for path in recordings}
    else:
        sounds = prompt_and_continuation()
    for name, audio in sounds.items():
        found = audiolm.detect(audio)
        likely = "silence" if found.probability is None else f"probability {found.probability:.2f}"
        marked = found.mark is not None and found.mark.found
        print(f"{name}: {found.verdict} ({likely}), mark {'found' if marked else 'not found'}")
        for stretch in found.timeline:
            print(
                f"  {stretch.start:6.2f} to {stretch.end:6.2f} s: {'made' if stretch.made else '-'}"
            )


def prompt_and_continuation() -> dict[str, audiolm.Audio]:
    """A recording, what a model made after it, and one behind the other."""
    lm = audiolm.load("speech")
    prompt = audiolm.read(audiolm.example_prompt()).resampled(16_000)
    made = lm.continuation(prompt, seed=0, continuation_only=True)
    both = audiolm.Audio(np.concatenate([prompt.samples, made.samples]), 16_000)
    return {"prompt": prompt, "continuation": made, "both": both}


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
