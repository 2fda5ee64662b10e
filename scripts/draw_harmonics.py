"""Voiced speech as recorded and as codecs render it: are the harmonics clear, or washed out?

    python scripts/draw_harmonics.py RECORDING … --models OLD,speech --out docs/harmonics.png

Draws spectrograms up to 4 kHz of a stretch of each recording, the one with the strongest harmonics,
and of what the codec of each model makes of it with `--levels` of its levels. A window of 64 ms
shows single harmonics, as horizontal lines; a hoarse decoder blurs them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

import audiolm
from audiolm.shapes import SAMPLE_RATE

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

WINDOW = 1024
"""Samples of a spectrogram's window: 64 ms."""
HIGHEST = 4000
"""Hz that are drawn."""


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, reconstruct, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path, nargs="+", help="recordings, one row for each")
    parser.add_argument("--models", default="speech", help="names or folders, by commas")
    parser.add_argument("--levels", type=int, help="of the codec; all unless given")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of the stretch")
    parser.add_argument("--out", type=Path, required=True, help="the picture, .png")
    arguments = parser.parse_args(words)

    models = {name: audiolm.load(name) for name in arguments.models.split(",")}
    rows, columns = len(arguments.recordings), 1 + len(models)
    figure, places = plt.subplots(
        rows, columns, figsize=(4 * columns, 3.4 * rows), squeeze=False, sharey=True
    )
    for axes, path in zip(places, arguments.recordings, strict=True):
        audio = audiolm.read(path).resampled(SAMPLE_RATE)
        start, stop = voiced_stretch(audio.samples, arguments.seconds)
        loudest = 20 * np.log10(np.abs(audio.samples[start:stop]).max() + 1e-9)
        draw(axes[0], audio.samples[start:stop], f"{path.stem}, as recorded", loudest)
        for place, (name, lm) in zip(axes[1:], models.items(), strict=True):
            rebuilt = lm.reconstruction(audio, arguments.levels)
            draw(place, rebuilt.samples[start:stop], Path(name).name, loudest)
    figure.tight_layout()
    figure.savefig(arguments.out, dpi=90)
    print(f"{arguments.out}: {rows} recordings, " + ", ".join(lm.name for lm in models.values()))


def voiced_stretch(samples: np.ndarray, seconds: float) -> tuple[int, int]:
    """First and last sample + 1 of the stretch with the strongest harmonics; all if too short.

    Strong are windows that are loud and like themselves one period of 60 to 400 Hz later.
    """
    length = round(seconds * SAMPLE_RATE)
    if len(samples) <= length:
        return 0, len(samples)
    hop = WINDOW // 2
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::hop]  # (n, WINDOW)
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW), 2 * WINDOW)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)  # (n, 2 * WINDOW), energy at lag 0
    periods = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 60)
    strength = correlation[:, periods].max(axis=1)  # (n,)
    windows = max(1, length // hop)
    together = np.convolve(strength, np.ones(windows), mode="valid")
    start = min(int(together.argmax()) * hop, len(samples) - length)
    return start, start + length


def draw(axes: Axes, samples: np.ndarray, title: str, loudest: float) -> None:
    """A spectrogram up to 4 kHz, 50 dB deep, for a recording as loud as `loudest` dB."""
    axes.specgram(
        samples + 1e-9,
        NFFT=WINDOW,
        noverlap=WINDOW - 64,
        pad_to=4 * WINDOW,
        cmap="magma",
        Fs=SAMPLE_RATE,
        vmin=loudest - 75,
        vmax=loudest - 25,
    )
    axes.set_ylim(0, HIGHEST)
    axes.set_title(title, fontsize=8)
    axes.set_yticks([0, 1000, 2000, 3000, 4000], ["0", "1", "2", "3", "4 kHz"])


if __name__ == "__main__":
    main()
