#!/usr/bin/env python3
"""More speech from text: flite and espeak-ng read books aloud, in many voices.

    python scripts/make_speech.py --text BOOKS --out FOLDER --hours 10

BOOKS is a folder of text files. Every voice of the two synthesizers is varied in pitch and tempo;
each variant counts as a speaker. The layout is LibriSpeech's, FOLDER/speaker/book/utterance.flac,
16 kHz, with the words in FOLDER/transcripts.txt. What is there already is not spoken again. It is
meant to stand beside real recordings when w2v-BERT and the semantic stage are trained, never alone.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.files import read
from audiolm.shapes import SAMPLE_RATE

FLITE = {"slt": 170.0, "rms": 100.0, "awb": 130.0, "kal16": 105.0}
"""Voices of flite, and the mean pitch they speak at, in Hz."""
ESPEAK = ("en-us+m2", "en-us+m4", "en-us+m5", "en-us+m7", "en-us+f1", "en-us+f3")
"""Voices of espeak-ng; those that scripts/make_probes.py speaks with are not among them."""
VARIANTS = 4
"""Speakers made of each voice."""
WORDS = range(8, 31)
"""Words in an utterance: about 3 to 12 s."""


@dataclass(frozen=True)
class Speaker:
    """One variant of one voice."""

    name: str
    command: tuple[str, ...]
    """Speaks the text file that is named last into the WAV file that is named before it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Speak until there are as many hours as the arguments ask for."""
    options = _parser().parse_args(arguments)
    missing = [name for name in ("flite", "espeak-ng") if shutil.which(name) is None]
    if missing:
        sys.exit(f"make_speech: {missing[0]} is not installed; apt-get install {missing[0]}")
    books = sorted(options.text.glob("*.txt"))
    if not books:
        sys.exit(f"make_speech: {options.text}: there is no *.txt; name a folder of text files")
    draw = random.Random(options.seed)
    speakers = _speakers(draw)
    sentences = [(book.stem, text) for book in books for text in _sentences(book)]
    draw.shuffle(sentences)
    seconds, lines = 0.0, []
    with ThreadPoolExecutor(options.workers) as pool:
        jobs = (
            (speakers[number % len(speakers)], book, number, text, options.out)
            for number, (book, text) in enumerate(sentences)
        )
        for start in iter(lambda: [job for _, job in zip(range(64), jobs, strict=False)], []):
            for (speaker, book, number, text, _), spoken in zip(
                start, pool.map(lambda job: _spoken(*job), start), strict=True
            ):
                seconds += spoken
                lines.append(f"{_id(speaker, book, number)} {text.upper()}")
            print(f"\r{seconds / 3600:.2f} h", end="", file=sys.stderr)
            if seconds >= 3600 * options.hours:
                break
    (options.out / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(
        f"\n{options.out}: {len(lines)} utterances, {seconds / 3600:.2f} h, {len(speakers)} voices"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, required=True, help="folder of text files")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--hours", type=float, default=10.0, help="how much (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="spoken at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _speakers(draw: random.Random) -> list[Speaker]:
    """Every voice in its variants: pitch by a factor of 0.85 to 1.2, tempo of 0.85 to 1.2."""
    speakers = []
    for variant in range(VARIANTS):
        for voice, pitch in FLITE.items():
            settings = {
                "int_f0_target_mean": pitch * draw.uniform(0.85, 1.2),
                "duration_stretch": draw.uniform(0.85, 1.2),
            }
            given = (f"{key}={value:.3f}" for key, value in settings.items())
            options = [word for setting in given for word in ("--setf", setting)]
            command = ("flite", "-voice", voice, *options, "-o")
            speakers.append(Speaker(f"flite_{voice}_{variant}", command))
        for voice in ESPEAK:
            pitch, speed = draw.randint(30, 70), draw.randint(135, 185)
            options = ["-p", str(pitch), "-s", str(speed)]
            command = ("espeak-ng", "-v", voice, *options, "-w")
            speakers.append(Speaker(f"espeak_{voice.partition('+')[2]}_{variant}", command))
    return speakers


def _sentences(book: Path) -> Iterator[str]:
    """Sentences of a book, as words in lower case; long ones are cut, short ones left out."""
    text = re.sub(r"\s+", " ", book.read_text(encoding="utf-8", errors="replace"))
    for sentence in re.split(r"(?<=[.!?;:])\s", text):
        words = re.findall(r"[a-z]+(?:'[a-z]+)?", sentence.lower())
        for start in range(0, len(words), WORDS.stop - 1):
            piece = words[start : start + WORDS.stop - 1]
            if len(piece) in WORDS:
                yield " ".join(piece)


def _id(speaker: Speaker, book: str, number: int) -> str:
    return f"{speaker.name}-{book}-{number:06d}"


def _spoken(speaker: Speaker, book: str, number: int, text: str, out: Path) -> float:
    """Speak one utterance into its file, if it is not there; its length in seconds."""
    path = out / speaker.name / book / f"{_id(speaker, book, number)}.flac"
    if path.exists():
        return read(path).seconds
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        written, spoken = Path(folder) / "text.txt", Path(folder) / "spoken.wav"
        written.write_text(text + ".\n", encoding="utf-8")
        subprocess.run(
            [*speaker.command, str(spoken), "-f", str(written)], check=True, capture_output=True
        )
        audio = read(spoken, SAMPLE_RATE)
    audio.write(path)
    return audio.seconds


if __name__ == "__main__":
    main()
