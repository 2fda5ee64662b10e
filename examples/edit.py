"""Say anew what stands between two points of a recording, at three lengths.

python examples/edit.py [RECORDING START END] [FOLDER]

Needs a model with a parallel stage and a semantic stage that has learnt to fill the middle; one
that has not says what to train.
"""

import sys
from pathlib import Path

import numpy as np

import audiolm


def main(recording: Path, start: float, end: float, folder: Path) -> None:
    """Write three edits into `folder`; what is outside the gap and its fades stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    lm = audiolm.load("speech")
    audio = audiolm.read(recording)
    for name, seconds in (
        ("same", None),
        ("half", (end - start) / 2),
        ("double", 2 * (end - start)),
    ):
        edited = lm.edit(audio, start, end, seconds, seed=0)
        edited.write(folder / f"{name}.wav")
        before = round((start - 0.025) * audio.sample_rate)  # the cross-fade takes 25 ms
        kept = np.array_equal(edited.samples[:before], audio.samples[:before])
        print(f"{name}.wav: {edited.seconds:.2f} s; before the gap {'kept' if kept else 'changed'}")


if __name__ == "__main__":
    given = sys.argv[1:]
    chosen = given[:3] if len(given) >= 3 else [str(audiolm.example_prompt()), "1.0", "1.4"]
    main(
        Path(chosen[0]),
        float(chosen[1]),
        float(chosen[2]),
        Path(given[3] if len(given) > 3 else "out"),
    )
