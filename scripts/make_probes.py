#!/usr/bin/env python3
"""Make a small set of probes spoken by espeak-ng, in the layout of ZeroResource 2021.

    python scripts/make_probes.py --text librispeech/dev/transcripts.txt \
        --vocabulary librispeech/train/transcripts.txt --out probes

Words against non-words that differ in one consonant of the same kind (brick, blick), and sentences
against the same words in another order. Each is spoken by four voices of espeak-ng, from its
phonemes, so that nothing but that consonant differs. `audiolm evaluate MODEL --data probes --out
REPORT --only probes` reads them. They are synthetic and easier to tell apart by ear than sWUGGY and
sBLIMP are: metrics on them stand for themselves, and `probes.json` says so.
"""

import argparse
import csv
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.files import read
from audiolm.shapes import SAMPLE_RATE

VOICES = ("en-us+m1", "en-us+m3", "en-us+f2", "en-us+f4")
"""One accent, so that the phonemes mean the same, and four throats."""
KINDS = (
    ("p", "t", "k"),
    ("b", "d", "g"),
    ("f", "T", "s", "S"),
    ("v", "D", "z"),
    ("m", "n"),
    ("l", "r"),
)
"""Consonants in espeak-ng's spelling that sound alike; one is put for another."""
PHONES = range(4, 10)
"""How many phones a word may have: in shorter ones a changed consonant is often a word again."""
WORDS_IN_SENTENCE = 8
"""Of a longer utterance, the first so many are taken."""


@dataclass(frozen=True)
class Line:
    """One row of a gold file, and what is spoken."""

    id: int
    correct: int
    phonemes: str
    columns: Mapping[str, object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set that the arguments ask for."""
    options = _parser().parse_args(arguments)
    if shutil.which("espeak-ng") is None:
        sys.exit("make_probes: espeak-ng is not installed; apt-get install espeak-ng")
    utterances = _texts(options.text)
    vocabulary = _texts(options.vocabulary or options.text)
    counts = Counter(word for text in vocabulary for word in text.split())
    draw = random.Random(options.seed)
    words = list(_word_lines(utterances, counts, options.words, draw))
    sentences = list(_sentence_lines(utterances, options.sentences, draw))
    lexical = ("id", "filename", "voice", "frequency", "word", "phones", "length_phones", "correct")
    syntactic = ("id", "filename", "voice", "type", "subtype", "transcription", "correct")
    _write(options.out / "lexical" / "dev", words, lexical)
    _write(options.out / "syntactic" / "dev", sentences, syntactic)
    found = re.search(r"\d+\.\d[\w.]*", _espeak("--version"))
    version = f"eSpeak NG {found[0] if found else ''}".strip()
    about = {
        "name": "espeak",
        "title": f"synthetic probes spoken by {version}, not sWUGGY or sBLIMP",
        "voices": VOICES,
        "text": _named(options.text),
        "frequency": f"occurrences in {_named(options.vocabulary or options.text)}",
        "pairs of words": len(words) // 2,
        "pairs of sentences": len(sentences) // 2,
        "seed": options.seed,
    }
    (options.out / "probes.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(words) // 2} pairs of words, {len(sentences) // 2} of sentences")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--text", type=Path, required=True, help="transcripts.txt: lines of id TEXT"
    )
    parser.add_argument("--vocabulary", type=Path, help="transcripts that a model was trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--words", type=int, default=300, help="pairs of words (%(default)s)")
    parser.add_argument("--sentences", type=int, default=200, help="pairs of sentences")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _named(path: Path) -> str:
    """The file and its folder, without what lies above on this machine."""
    return "/".join(path.resolve().parts[-2:])


def _texts(path: Path) -> list[str]:
    """What is said in each utterance, in lower case."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[2].lower() for line in lines if " " in line]


def _word_lines(
    utterances: Sequence[str], counts: Counter[str], wanted: int, draw: random.Random
) -> Iterable[Line]:
    """Words of the utterances and non-words, one after the other."""
    spoken = sorted({w for text in utterances for w in text.split() if re.fullmatch("[a-z]+", w)})
    known = _phonemes(sorted({*spoken, *(w for w in counts if re.fullmatch("[a-z]+", w))}))
    words_there_are = {_unstressed(phones) for phones in known.values()}
    draw.shuffle(spoken)
    made = 0
    for word in spoken:
        phones = known[word]
        if made == wanted:
            break
        if len(phones) not in PHONES:
            continue
        other = _non_word(phones, words_there_are, draw)
        if other is None:
            continue
        for correct, sounds in ((1, phones), (0, other)):
            columns = {
                "frequency": counts[word] if correct else "",
                "word": word if correct else "",
                "phones": " ".join(sounds),
                "length_phones": len(sounds),
            }
            yield Line(made, correct, "".join(sounds), columns)
        made += 1
    if made < wanted:
        print(f"make_probes: only {made} of {wanted} pairs of words were found", file=sys.stderr)


def _non_word(
    phones: Sequence[str], words: set[tuple[str, ...]], draw: random.Random
) -> list[str] | None:
    """The word with one consonant changed, or None where every change gives a word."""
    changes = [
        (place, other)
        for place, phone in enumerate(phones)
        for kind in KINDS
        if phone in kind
        for other in kind
        if other != phone
    ]
    draw.shuffle(changes)
    for place, other in changes:
        changed = [*phones[:place], other, *phones[place + 1 :]]
        if _unstressed(changed) not in words:
            return changed
    return None


def _unstressed(phones: Sequence[str]) -> tuple[str, ...]:
    return tuple(phone.lstrip("',") for phone in phones)


def _sentence_lines(utterances: Sequence[str], wanted: int, draw: random.Random) -> Iterable[Line]:
    """Beginnings of utterances, and the same words in another order."""
    chosen = [text.split()[:WORDS_IN_SENTENCE] for text in utterances]
    chosen = [words for words in chosen if len(words) >= 5 and len(set(words)) >= 4]
    draw.shuffle(chosen)
    for number, words in enumerate(chosen[:wanted]):
        order = list(words)
        while order == words:
            draw.shuffle(order)
        for correct, spoken in ((1, words), (0, order)):
            columns = {
                "type": "word_order",
                "subtype": "scrambled",
                "transcription": " ".join(spoken),
            }
            yield Line(number, correct, " ".join(spoken), columns)


def _phonemes(words: Sequence[str]) -> dict[str, list[str]]:
    """Phonemes of each word in espeak-ng's spelling, each word spoken alone."""
    lines = _espeak("-v", "en-us", "-q", "-x", "--sep=_", text=".\n".join(words) + ".\n")
    spoken = [line.strip() for line in lines.splitlines() if line.strip()]
    if len(spoken) != len(words):
        sys.exit(f"make_probes: espeak-ng spoke {len(spoken)} of {len(words)} words; report this")
    return {word: line.split("_") for word, line in zip(words, spoken, strict=True)}


def _write(folder: Path, lines: Sequence[Line], header: Sequence[str]) -> None:
    """Speak every line in every voice, and write the gold file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for voice in VOICES:
        for line in lines:
            text = line.phonemes
            name = hashlib.sha256(f"{voice} {line.id} {line.correct}".encode()).hexdigest()[:12]
            _speak(f"[[{text}]]" if "word" in header else text, voice, folder / f"{name}.wav")
            row = {"id": line.id, "filename": name, "voice": voice, "correct": line.correct}
            rows.append({**row, **line.columns})
    with (folder / "gold.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, header)
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: (row["id"], row["voice"], -row["correct"])))


def _speak(text: str, voice: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        _espeak("-v", voice, "-s", "150", "-w", str(spoken), text=text)
        read(spoken, SAMPLE_RATE).write(path)


def _espeak(*arguments: str, text: str | None = None) -> str:
    command = ["espeak-ng", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
