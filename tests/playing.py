"""Tunes as recordings with tables of notes beside them."""

from pathlib import Path

import numpy as np
import soundfile

KEYS = (48, 55, 60, 64, 72)


def play(folder: Path, name: str, seed: int, seconds: float = 4.0) -> np.ndarray:
    """Tones of a random tune in `folder`, `name`.wav and .tsv; its notes (n, 4)."""
    draw = np.random.default_rng(seed)
    samples, rows, at = np.zeros(round(seconds * 16_000)), [], 0.1
    while at < seconds - 0.5:
        length, note = draw.uniform(0.2, 0.4), int(draw.choice(KEYS))
        rows.append((at, at + length, note, 90))
        there = slice(round(at * 16_000), round((at + length) * 16_000))
        time = np.arange(there.stop - there.start) / 16_000
        tone = np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time)
        samples[there] += 0.3 * tone * np.exp(-3 * time)
        at += length
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{name}.wav", samples, 16_000)
    lines = [f"{a:.6f}\t{b:.6f}\t{note}\t{velocity}" for a, b, note, velocity in rows]
    table = "# onset,offset,note,velocity\n" + "\n".join(lines) + "\n"
    (folder / f"{name}.tsv").write_text(table)
    return np.array(rows, dtype=float)
