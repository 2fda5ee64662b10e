"""Six prompts of piano with their continuations, by AudioLM and by its baseline, as piano rolls.

    python scripts/draw_piano_rolls.py RECORDINGS --model MODEL --out FOLDER

Takes prompts from RECORDINGS, one of a piece, from the first sound on; continues each by AudioLM
and by the acoustic-only baseline, both with the model's own lengths; writes the WAV files into
FOLDER and one picture, `piano-rolls.png`. Each continuation is a piano roll, as the transcriber of
the evaluation writes it down (darker is louder), above its spectrogram; a line stands where the
prompt ends. RECORDINGS should be of pieces that the model was not trained on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

import audiolm
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.music_windows import windows_of
from audiolm.evaluation.tables.transcriber import KeptTranscripts, Transkun

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

LOWEST, HIGHEST = 21, 108
"""MIDI notes of a piano's keys."""
SYSTEMS = {"AudioLM": None, "acoustic-only": "acoustic-only"}


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, continue, write down, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path, help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for WAV files and picture")
    parser.add_argument("--model", default="piano", help="name, folder or hub id")
    parser.add_argument("--count", type=int, default=6, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of choice and sampling")
    arguments = parser.parse_args(words)

    lm = audiolm.load(arguments.model)
    transcriber = KeptTranscripts(Transkun(lm.device), arguments.out / "transcripts")
    prompt_seconds, seconds = lm.info.prompt_seconds, lm.info.seconds
    chosen = spread_over_speakers(utterances(arguments.recordings), None, arguments.seed)
    windows = windows_of(chosen, prompt_seconds + seconds, 1)
    order = np.random.default_rng(arguments.seed).permutation(len(windows))
    by_piece = {windows[number].piece: windows[number] for number in order}
    drawn = list(by_piece.values())[: arguments.count]
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure, places = plt.subplots(
        2 * len(drawn),
        len(SYSTEMS),
        figsize=(13, 2.4 * len(drawn)),
        squeeze=False,
        sharex=True,
        gridspec_kw={"height_ratios": [3, 2] * len(drawn)},
    )
    for row, window in enumerate(drawn):
        prompt = window.audio.first(prompt_seconds)
        for column, (name, baseline) in enumerate(SYSTEMS.items()):
            made = lm.continuation(
                prompt, seconds, prompt_seconds=None, seed=arguments.seed, baseline=baseline
            )
            stem = f"{window.utterance.recording.id.replace('/', '_')}-{name.lower()}"
            made.write(arguments.out / f"{stem}.wav")
            roll, spectrum = places[2 * row, column], places[2 * row + 1, column]
            draw_roll(roll, transcriber.transcribe(made))
            draw_spectrum(spectrum, made)
            for axes in (roll, spectrum):
                axes.axvline(prompt_seconds, color="#c8552b", linewidth=1)
            piece = window.piece.removeprefix("composition ").removeprefix("recording ")
            roll.set_title(f"{piece}: {name}", fontsize=8)
    figure.tight_layout()
    figure.savefig(arguments.out / "piano-rolls.png", dpi=70)
    plt.close(figure)
    print(f"{arguments.out}: {len(drawn)} prompts, continued by {lm.fingerprint[:16]}")


def draw_roll(axes: Axes, notes: np.ndarray) -> None:
    """Notes (n, 4) as bars: seconds to the right, keys upwards, the darker the louder."""
    bars = [Rectangle((on, pitch - 0.5), max(0.03, off - on), 1) for on, off, pitch, _ in notes]
    colours = plt.get_cmap("Blues")(0.25 + 0.75 * notes[:, 3] / 127)
    axes.add_collection(PatchCollection(bars, facecolors=colours, linewidths=0))
    axes.set_ylim(LOWEST, HIGHEST)
    axes.set_yticks([36, 60, 84], ["C2", "C4", "C6"])
    axes.grid(axis="y", linewidth=0.3)


def draw_spectrum(axes: Axes, audio: audiolm.Audio) -> None:
    """A spectrogram up to 4 kHz, 80 dB deep."""
    loudest = 20 * np.log10(np.abs(audio.samples).max() + 1e-9)
    axes.specgram(
        audio.samples + 1e-9,
        NFFT=1024,
        noverlap=512,
        Fs=audio.sample_rate,
        vmin=loudest - 110,
        vmax=loudest - 30,
    )
    axes.set_ylim(0, 4000)
    axes.set_yticks([0, 4000], ["0", "4 kHz"])


if __name__ == "__main__":
    main()
