"""Twelve continuations, heard and seen.

    python scripts/draw_continuations.py RECORDINGS --out FOLDER

Takes prompts of 3 s from RECORDINGS, about as many of each speaker, continues each by 7 s, writes
the WAV files into FOLDER and one picture of all spectrograms, `continuations.png`, with a line
where the prompt ends. RECORDINGS should hold voices that the model was not trained on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

import audiolm
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.selection import between, spread_over_speakers

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PROMPT, CONTINUATION = 3.0, 7.0
"""Seconds, as in the paper (section IV-F)."""


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, continue, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path, help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for WAV files and picture")
    parser.add_argument("--model", default="speech", help="name, folder or hub id")
    parser.add_argument("--count", type=int, default=12, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of choice and sampling")
    arguments = parser.parse_args(words)

    lm = audiolm.load(arguments.model)
    long_enough = between(utterances(arguments.recordings), PROMPT + 1)
    chosen = spread_over_speakers(long_enough, arguments.count, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = -(-len(chosen) // 3)
    figure, places = plt.subplots(rows, 3, figsize=(13, 2 * rows), squeeze=False, sharey=True)
    for axes, utterance in zip(places.flat, chosen, strict=False):
        audio = audiolm.read(utterance.recording.path)
        prompt = audiolm.Audio(
            audio.samples[: round(PROMPT * audio.sample_rate)], audio.sample_rate
        )
        made = lm.continuation(prompt, seconds=CONTINUATION, seed=arguments.seed)
        made.write(arguments.out / f"{utterance.recording.id.replace('/', '_')}.wav")
        draw(axes, made, utterance.speaker)
    for axes in places.flat[len(chosen) :]:
        axes.set_visible(False)
    figure.tight_layout()
    figure.savefig(arguments.out / "continuations.png", dpi=70)
    print(f"{arguments.out}: {len(chosen)} continuations by {lm.fingerprint[:16]}")


def draw(axes: Axes, audio: audiolm.Audio, title: str) -> None:
    """A spectrogram up to 8 kHz, 80 dB deep, with a line at the prompt's end."""
    loudest = 20 * np.log10(np.abs(audio.samples).max() + 1e-9)
    axes.specgram(
        audio.samples + 1e-9,
        NFFT=512,
        noverlap=384,
        Fs=audio.sample_rate,
        vmin=loudest - 110,
        vmax=loudest - 30,
    )
    axes.axvline(PROMPT, color="white", linewidth=1)
    axes.set_title(f"speaker {title}", fontsize=8)
    axes.set_yticks([0, 4000, 8000], ["0", "4", "8 kHz"])


if __name__ == "__main__":
    main()
