#!/usr/bin/env python3
"""Piano recordings from scores: fluidsynth plays MIDI files on the free pianos of Debian.

    python scripts/render_piano.py MIDI --out FOLDER --split train

MIDI is a folder of *.mid; a table midi.csv in it or beside it names the split and the composition
of each. Every piece is played on another piano, in another room, tuning, tempo and key, drawn from
the seed and its name, so that no single timbre is learnt. FOLDER gets, below a folder for each
sound font, 16 kHz FLAC files, beside each a table of its notes (`onset offset note velocity` in
seconds, as the MAPS corpus has them; offsets with the pedal), and drawn.csv, which says what was
drawn. What is there already is not played again.

Needs: pip install audiolm[piano]; apt-get install fluidsynth and the sound fonts of `FONTS`.
"""

import argparse
import csv
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import soundfile

from audiolm.atomic import replacing
from audiolm.audio.files import info
from audiolm.audio.resample import resample
from audiolm.audio.waveform import Audio
from audiolm.shapes import SAMPLE_RATE

RENDER_RATE = 44_100
"""What fluidsynth renders at: directly at 16 kHz it loses some 10 dB at 7 to 8 kHz."""
TICKS_PER_SECOND = 2000
"""Of the rewritten scores, all at one tempo: fluidsynth drifts where the tempo changes often."""
LEAD, TAIL = 0.1, 2.5
"""Seconds before the first note, and at most after the end of the last."""
FLOOR_DB = -60.0
"""Where the sound after the last note has faded this far below the peak, it is over."""
LOWEST, HIGHEST = 21, 108
"""MIDI notes of a piano's keys."""
PEDALS = (64, 66, 67)
"""Controllers that are played: sustain, sostenuto, soft. Volume and pan would be a mixer's."""


@dataclass(frozen=True)
class Font:
    """A sound font, and the pianos in it. Electric, honky-tonk and other keyboards are left out."""

    package: str
    path: str
    licence: str
    pianos: tuple[tuple[int, int], ...]
    """Bank and program of each."""


FONTS = {
    "fluidr3": Font(
        "fluid-soundfont-gm", "/usr/share/sounds/sf2/FluidR3_GM.sf2", "MIT", ((0, 0), (0, 1))
    ),
    "musescore": Font(
        "musescore-general-soundfont",
        "/usr/share/sounds/sf3/MuseScore_General_Full.sf3",
        "MIT, piano samples in the public domain",
        ((0, 0), (0, 1), (8, 0)),
    ),
    "csound": Font(
        "csound-soundfont", "/usr/share/sounds/sf2/sf_GMbank.sf2", "public domain", ((0, 0),)
    ),
    "timgm6mb": Font(
        "timgm6mb-soundfont", "/usr/share/sounds/sf2/TimGM6mb.sf2", "GPL-2", ((0, 0), (0, 1))
    ),
}
DEFAULT_FONTS = ("fluidr3", "musescore", "csound")
"""Those under terms that ask for nothing of what is made with them."""


@dataclass(frozen=True)
class Score:
    """A MIDI file, what it is a performance of, and its split, as midi.csv says."""

    path: Path
    composition: str
    split: str


@dataclass(frozen=True)
class Drawn:
    """How one piece is played: a row of drawn.csv."""

    file: str
    """Below the folder, without the suffix."""
    score: str
    composition: str
    split: str
    font: str
    bank: int
    program: int
    tempo: float
    """Factor on the speed."""
    semitones: int
    """Transposition; the labels are transposed with it."""
    cents: float
    """Tuning."""
    room: float
    damping: float
    width: float
    reverb: float
    """0 to 1 each, as fluidsynth has them; a reverb of 0 is none."""
    tilt: float
    """dB an octave above 500 Hz."""
    bass: float
    """dB below 200 Hz."""
    bump_hz: float
    bump_db: float
    """A broad resonance."""
    peak_db: float
    """Of the whole piece, below full scale."""
    noise_db: float
    """Noise of the recording, below the peak."""


@dataclass(frozen=True)
class Note:
    """A note as it sounds, in seconds."""

    onset: float
    offset: float
    pitch: int
    velocity: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Play every score of the split that is not there yet, and list what could not be played."""
    options = _parser().parse_args(arguments)
    _check_installed(options.fonts)
    scores = _scores(options.midi, options.split)
    jobs = _jobs(scores, options.fonts, options.copies, options.seed)
    rows: list[tuple[Drawn, float]] = []
    seconds, skipped = 0.0, []
    with ThreadPoolExecutor(options.workers) as pool:
        for start in range(0, len(jobs), 2 * options.workers):
            some = jobs[start : start + 2 * options.workers]
            outcomes = pool.map(lambda job: _played(job[0].path, job[1], options.out), some)
            for (score, drawn), outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, str):
                    skipped.append(f"{score.path.name}: {outcome}")
                else:
                    seconds += outcome
                    rows.append((drawn, outcome))
            _write_table(options.out / "drawn.csv", rows)
            print(f"\r{len(rows)} pieces, {seconds / 3600:.2f} h", end="", file=sys.stderr)
            if seconds >= 3600 * options.hours:
                break
    print(f"\n{options.out}: {len(rows)} pieces, {seconds / 3600:.2f} h, {len(skipped)} skipped")
    for line in skipped:
        print(f"skipped {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("midi", type=Path, help="folder of *.mid")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--split", choices=("train", "dev"), help="of midi.csv (both)")
    parser.add_argument("--copies", type=int, default=1, help="of each piece (%(default)s)")
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop there (never)")
    parser.add_argument("--workers", type=int, default=1, help="played at once (%(default)s)")
    parser.add_argument(
        "--fonts",
        nargs="+",
        choices=tuple(FONTS),
        default=DEFAULT_FONTS,
        help=f"sound fonts ({' '.join(DEFAULT_FONTS)})",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _check_installed(fonts: Sequence[str]) -> None:
    """One line that says what to install, where something is missing."""
    packages = [FONTS[font].package for font in fonts if not Path(FONTS[font].path).exists()]
    if shutil.which("fluidsynth") is None:
        packages.insert(0, "fluidsynth")
    if packages:
        sys.exit(f"render_piano: apt-get install {' '.join(packages)} (or fewer --fonts)")
    try:
        import mido  # noqa: F401
    except ImportError:
        sys.exit("render_piano: mido is not installed; pip install audiolm[piano]")


def _scores(folder: Path, split: str | None) -> list[Score]:
    """The scores of a split, by name."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not paths:
        sys.exit(f"render_piano: {folder}: there is no *.mid; name a folder of MIDI files")
    tables = [folder / "midi.csv", folder.parent / "midi.csv"]
    table = next((table for table in tables if table.exists()), None)
    if table is None:
        if split is not None:
            sys.exit(f"render_piano: {tables[0]}: is missing; without it leave --split out")
        return [Score(path, path.stem, "train") for path in paths]
    with table.open(encoding="utf-8", newline="") as file:
        listed = {row["file"]: row for row in csv.DictReader(file)}
    unlisted = [path.name for path in paths if path.name not in listed]
    if unlisted:  # of an unknown composition: it might be one that is held out
        print(f"not in {table}, left out: {', '.join(unlisted)}", file=sys.stderr)
    scores = [
        Score(path, listed[path.name]["composition"], listed[path.name]["split"])
        for path in paths
        if path.name in listed
    ]
    chosen = [score for score in scores if split in (None, score.split)]
    if not chosen:
        sys.exit(f"render_piano: {table}: no score in {folder} is of split {split}")
    return chosen


def _jobs(
    scores: Sequence[Score], fonts: Sequence[str], copies: int, seed: int
) -> list[tuple[Score, Drawn]]:
    """Every piece in every copy: all pieces once, then all a second time, each time mixed."""
    jobs = []
    for copy in range(1, copies + 1):
        once = [(score, _drawn(score, fonts, copy, seed)) for score in scores]
        random.Random(f"{seed}:{copy}").shuffle(once)
        jobs += once
    return jobs


def _drawn(score: Score, fonts: Sequence[str], copy: int, seed: int) -> Drawn:
    """How a piece is played: a function of seed, name and copy, and of the fonts to choose from."""
    draw = random.Random(f"{seed}:{score.path.name}:{copy}")
    font = draw.choice(list(fonts))
    bank, program = draw.choice(FONTS[font].pianos)
    return Drawn(
        file=f"{font}/{score.path.stem}-{copy}",
        score=score.path.name,
        composition=score.composition,
        split=score.split,
        font=font,
        bank=bank,
        program=program,
        tempo=round(draw.uniform(0.9, 1.1), 4),
        semitones=draw.randint(-3, 3),
        cents=round(draw.uniform(-15, 15), 1),
        room=round(draw.uniform(0.1, 0.9), 3),
        damping=round(draw.uniform(0.0, 0.8), 3),
        width=round(draw.uniform(0.0, 1.0), 3),
        reverb=0.0 if draw.random() < 0.15 else round(draw.uniform(0.1, 0.9), 3),
        tilt=round(draw.uniform(-5.0, 0.5), 2),
        bass=round(draw.uniform(-6.0, 3.0), 2),
        bump_hz=round(200 * 2 ** draw.uniform(0, 4.5), 1),
        bump_db=round(draw.uniform(-5.0, 5.0), 2),
        peak_db=round(draw.uniform(-12.0, -0.5), 2),
        noise_db=round(draw.uniform(-85.0, -60.0), 1),
    )


def _played(score: Path, drawn: Drawn, out: Path) -> float | str:
    """Play one piece into its files, if they are not there; its seconds, or why it cannot be."""
    path = out / f"{drawn.file}.flac"
    if path.exists():
        return info(path).seconds
    try:
        notes, events = read_score(score, drawn)
    except Exception as error:  # a parser of broken files raises whatever it stumbles over
        return f"is no MIDI file that can be read ({' '.join(str(error).split()) or error!r})"
    if not notes:
        return "has no notes"
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "score.mid", Path(folder) / "played.wav"
        _write_score(midi, events, drawn)
        outcome = subprocess.run(_command(midi, wav, drawn), capture_output=True, text=True)
        if outcome.returncode or not wav.exists():
            return f"fluidsynth failed ({' '.join(outcome.stderr.split())[-200:]})"
        stereo, _ = soundfile.read(wav, dtype="float32", always_2d=True)  # (T', 2)
    samples = resample(stereo.mean(axis=1), RENDER_RATE, SAMPLE_RATE)  # (T,)
    if not np.abs(samples).max(initial=0.0) > 0:
        return "is played as silence"
    start = notes[0].onset - LEAD
    samples = recorded(trimmed(samples, start, max(note.offset for note in notes)), drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".tsv")) as temporary:
        temporary.write_text(_labels(notes, start), encoding="utf-8")
    Audio(samples, SAMPLE_RATE).write(path)  # last: where it is, the labels are
    return len(samples) / SAMPLE_RATE


def read_score(path: Path, drawn: Drawn) -> tuple[list[Note], list[tuple[float, list[int]]]]:
    """The notes as they will sound, by onset, and the events to play: seconds and MIDI bytes.

    Times are those of the tempo that was drawn, pitches those of its transposition (less of it
    where a piano has no more keys). All channels become one, as on one piano.
    """
    import mido

    seconds, events = 0.0, []
    for message in mido.MidiFile(path, clip=True):  # with the tempo changes worked out
        seconds += message.time / drawn.tempo
        if message.type in ("note_on", "note_off"):
            velocity = message.velocity if message.type == "note_on" else 0
            events.append((seconds, [0x90, message.note, velocity]))
        elif message.type == "control_change" and message.control in PEDALS:
            events.append((seconds, [0xB0, message.control, message.value]))
    pitches = [event[1] for _, event in events if event[0] == 0x90]
    if not pitches:
        return [], []
    up, down = max(0, HIGHEST - max(pitches)), min(0, LOWEST - min(pitches))
    shift = max(down, min(up, drawn.semitones))
    for _, event in events:
        if event[0] == 0x90:
            event[1] += shift
    return _sounding(events), events


def _sounding(events: Sequence[tuple[float, list[int]]]) -> list[Note]:
    """From keys and pedal to notes: one ends with its key, or with the pedal, or struck again."""
    notes: list[Note] = []
    struck: dict[int, tuple[float, int]] = {}  # pitch -> onset, velocity
    held_by_pedal: set[int] = set()
    pedal = False

    def end(pitch: int, seconds: float) -> None:
        onset, velocity = struck.pop(pitch)
        held_by_pedal.discard(pitch)
        if seconds > onset:
            notes.append(Note(onset, seconds, pitch, velocity))

    for seconds, (kind, number, value) in events:
        if kind == 0xB0:
            if number == PEDALS[0]:
                pedal = value >= 64
                if not pedal:
                    for pitch in sorted(held_by_pedal):
                        end(pitch, seconds)
        elif value > 0:
            if number in struck:
                end(number, seconds)
            struck[number] = (seconds, value)
        elif number in struck:
            if pedal:
                held_by_pedal.add(number)
            else:
                end(number, seconds)
    last = events[-1][0]
    for pitch in sorted(struck):
        end(pitch, last)
    return sorted(notes, key=lambda note: (note.onset, note.pitch))


def _write_score(path: Path, events: Sequence[tuple[float, list[int]]], drawn: Drawn) -> None:
    """The events at one tempo, after those that choose the piano, its tuning and its room."""
    import mido

    bend = 8192 + round(8192 * drawn.cents / 200)  # the wheel's range is 200 cents each way
    opening = [
        [0xB0, 0, drawn.bank],
        [0xC0, drawn.program],
        [0xE0, bend & 0x7F, bend >> 7],
        [0xB0, 91, 127],  # all of it goes to the room; how much comes back is the room's level
        [0xB0, 93, 0],  # and nothing to the chorus
    ]
    track, now = mido.MidiTrack(), 0
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    for data in opening:
        track.append(mido.Message.from_bytes(data))
    for seconds, data in events:
        ticks = round(seconds * TICKS_PER_SECOND)
        track.append(mido.Message.from_bytes(data, time=ticks - now))
        now = ticks
    track.append(mido.MetaMessage("end_of_track", time=round(TAIL * TICKS_PER_SECOND)))
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2, tracks=[track]).save(path)


def _command(midi: Path, wav: Path, drawn: Drawn) -> list[str]:
    """fluidsynth, as it plays one file into another."""
    settings = {
        "synth.chorus.active": 0,
        "synth.reverb.active": int(drawn.reverb > 0),
        "synth.reverb.room-size": drawn.room,
        "synth.reverb.damp": drawn.damping,
        "synth.reverb.width": drawn.width,
        "synth.reverb.level": drawn.reverb,
        "synth.polyphony": 512,
    }
    given = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    wanted = ["-ni", "-q", "-r", str(RENDER_RATE), "-O", "float", "-T", "wav", "-F", str(wav)]
    return ["fluidsynth", *wanted, *given, FONTS[drawn.font].path, str(midi)]


def trimmed(samples: np.ndarray, start: float, last: float) -> np.ndarray:
    """(T,) from `start` seconds (silence, where that is below 0) to where the last note has died.

    Args:
        last: when that note's key and pedal are released, in seconds.
    """
    block = SAMPLE_RATE // 50
    end = min(len(samples), round((last + TAIL) * SAMPLE_RATE))
    floor = np.abs(samples).max() * 10 ** (FLOOR_DB / 20)
    while end - block > last * SAMPLE_RATE and np.abs(samples[end - block : end]).max() < floor:
        end -= block
    begin = round(start * SAMPLE_RATE)
    return np.pad(samples[max(0, begin) : end], (max(0, -begin), 0))


def recorded(samples: np.ndarray, drawn: Drawn) -> np.ndarray:
    """(T,) through the equaliser, with the recording's noise, at the level that was drawn."""
    spectrum = np.fft.rfft(samples)  # (T // 2 + 1,)
    hertz = np.maximum(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), 1.0)
    decibels = drawn.tilt * np.maximum(0.0, np.log2(hertz / 500))
    decibels += drawn.bass / (1 + (hertz / 200) ** 2)
    decibels += drawn.bump_db * np.exp(-(np.log2(hertz / drawn.bump_hz) ** 2) / 0.5)
    sound = np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples))  # (T,)
    digest = hashlib.sha256(drawn.file.encode()).digest()
    noise = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    sound *= 10 ** (drawn.peak_db / 20) / np.abs(sound).max()
    level = 10 ** ((drawn.peak_db + drawn.noise_db) / 20)
    sound += level * noise.standard_normal(len(sound))
    return np.clip(sound, -1, 1).astype(np.float32)


def _labels(notes: Sequence[Note], start: float) -> str:
    lines = ["# onset,offset,note,velocity"]
    for note in notes:
        times = f"{note.onset - start:.6f}\t{note.offset - start:.6f}"
        lines.append(f"{times}\t{note.pitch}\t{note.velocity}")
    return "\n".join(lines) + "\n"


def _write_table(path: Path, rows: Sequence[tuple[Drawn, float]]) -> None:
    """What was drawn for each piece that is there, by file; rows of other runs stay."""
    table = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            table = {row["file"]: row for row in csv.DictReader(file)}
    for drawn, seconds in rows:
        row = {**asdict(drawn), "seconds": f"{seconds:.3f}"}
        table[drawn.file] = {name: str(value) for name, value in row.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        names = [*(field.name for field in fields(Drawn)), "seconds"]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table[name] for name in sorted(table))


if __name__ == "__main__":
    main()
