"""Piano from scores: what is drawn, how labels come about, and that they lie on the sound."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.data.corpus import open_corpus

mido = pytest.importorskip("mido", reason="mido is not installed")

SCORES = Path(__file__).parents[3] / "shared" / "data" / "piano" / "midi"
FONT = "csound"


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("render_piano")


@pytest.fixture(scope="module")
def fluidsynth(script):
    if shutil.which("fluidsynth") is None or not Path(script.FONTS[FONT].path).exists():
        pytest.skip("fluidsynth or its sound font is not installed")


def write_scale(path, count=12, tempos=(300_000, 700_000)):
    """A scale of quarter notes whose tempo changes at every note; the onsets in seconds."""
    track, onsets, now = mido.MidiTrack(), [], 0.0
    for number in range(count):
        tempo = tempos[number % len(tempos)]
        track.append(mido.MetaMessage("set_tempo", tempo=tempo))
        track.append(mido.Message("note_on", note=60 + number, velocity=90, time=0))
        track.append(mido.Message("note_off", note=60 + number, time=480))
        onsets.append(now)
        now += tempo / 1e6
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)
    return np.array(onsets)


@pytest.fixture
def scores(tmp_path):
    folder = tmp_path / "midi"
    folder.mkdir()
    for name in ("a", "b", "held_out", "unknown"):
        write_scale(folder / f"{name}.mid")
    (folder / "broken.mid").write_bytes((folder / "a.mid").read_bytes()[:60])
    (tmp_path / "midi.csv").write_text(
        "file,split,composition\na.mid,train,a\nb.mid,train,b\nbroken.mid,train,c\n"
        "held_out.mid,dev,d\n"
    )
    return folder


def drawn_of(script, path, **changes):
    drawn = script._drawn(script.Score(path, path.stem, "train"), [FONT], 1, 0)
    return replace(drawn, **changes)


def test_what_is_drawn_depends_on_seed_name_and_copy_alone(script, scores):
    def drawn(split, copies, seed):
        jobs = script._jobs(script._scores(scores, split), ["csound", "fluidr3"], copies, seed)
        return {(one.score, one.file.rpartition("-")[2]): one for _, one in jobs}

    few, many, other = drawn("train", 1, 0), drawn(None, 2, 0), drawn("train", 1, 1)
    assert len(few) == 3
    assert all(many[key] == one for key, one in few.items())
    assert all(other[key] != one for key, one in few.items())
    assert many["a.mid", "1"].tempo != many["a.mid", "2"].tempo != many["b.mid", "2"].tempo


def test_nothing_is_played_that_is_held_out_or_in_no_split(script, scores, capsys):
    assert [score.path.stem for score in script._scores(scores, "train")] == ["a", "b", "broken"]
    assert "left out: unknown.mid" in capsys.readouterr().err
    assert [score.path.stem for score in script._scores(scores, "dev")] == ["held_out"]


def test_what_is_missing_is_said(script, scores, tmp_path, monkeypatch):
    out = ["--out", str(tmp_path / "out")]
    with monkeypatch.context() as patched:
        patched.setattr(script.shutil, "which", lambda name: None)
        with pytest.raises(SystemExit, match="apt-get install fluidsynth"):
            script.main([str(scores), *out])
    monkeypatch.setattr(script, "_check_installed", lambda fonts: None)
    with pytest.raises(SystemExit, match=r"there is no \*\.mid"):
        script.main([str(tmp_path), *out])
    (tmp_path / "midi.csv").unlink()
    with pytest.raises(SystemExit, match="is missing; without it leave --split out"):
        script.main([str(scores), *out, "--split", "train"])


def test_times_follow_every_change_of_tempo(script, tmp_path):
    onsets = write_scale(tmp_path / "a.mid")
    drawn = drawn_of(script, tmp_path / "a.mid", tempo=1.1, semitones=2)
    notes, _ = script.read_score(tmp_path / "a.mid", drawn)
    assert [note.onset for note in notes] == pytest.approx(onsets / 1.1)
    assert [note.pitch for note in notes] == list(range(62, 74))


def test_keys_that_a_piano_has_not_are_not_asked_for(script, tmp_path):
    track = mido.MidiTrack()
    for note in (107, 60):
        track.append(mido.Message("note_on", note=note, velocity=90))
        track.append(mido.Message("note_on", note=note, velocity=0, time=100))
    mido.MidiFile(tracks=[track]).save(tmp_path / "high.mid")
    for asked, expected in ((3, 108), (-3, 104)):
        drawn = drawn_of(script, tmp_path / "high.mid", semitones=asked)
        notes, _ = script.read_score(tmp_path / "high.mid", drawn)
        assert notes[0].pitch == expected


def test_the_pedal_holds_notes_until_it_is_lifted_or_they_are_struck_again(script):
    press, lift = [0xB0, 64, 127], [0xB0, 64, 0]
    events = [
        (0.0, [0x90, 60, 80]),
        (0.5, press),
        (1.0, [0x90, 60, 0]),  # held by the pedal
        (1.5, [0x90, 64, 70]),
        (2.0, [0x90, 60, 60]),  # struck again
        (2.5, [0x90, 64, 0]),
        (3.0, lift),  # ends 64; the key of 60 is still down
        (3.5, [0x90, 60, 0]),
        (4.0, [0x90, 67, 50]),  # never released
        (5.0, [0xB0, 67, 0]),
    ]
    expected = [(0.0, 2.0, 60, 80), (1.5, 3.0, 64, 70), (2.0, 3.5, 60, 60), (4.0, 5.0, 67, 50)]
    assert script._sounding(events) == [script.Note(*note) for note in expected]


def test_a_corpus_is_made_and_made_again(script, scores, tmp_path, fluidsynth, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = [str(scores), "--out", str(out), "--split", "train", "--fonts", FONT]
    script.main(arguments)
    printed = capsys.readouterr().out
    assert "2 pieces" in printed
    assert "1 skipped" in printed
    assert "skipped broken.mid: is no MIDI file that can be read" in printed
    corpus = open_corpus(out)
    assert sorted(r.id for r in corpus.recordings) == [f"{FONT}/a-1", f"{FONT}/b-1"]
    rows = (out / "drawn.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["file", f"{FONT}/a-1", f"{FONT}/b-1"]
    first, second = out / FONT / "a-1.flac", out / FONT / "b-1.flac"
    assert soundfile.info(first).samplerate == 16_000
    before, other = first.read_bytes(), second.stat().st_mtime_ns
    first.unlink()
    script.main(arguments)
    assert first.read_bytes() == before
    assert second.stat().st_mtime_ns == other  # was there, and is not played again


def onset_errors(path):
    """Seconds from each note that begins alone to the steepest rise of the spectrum near it."""
    samples, rate = soundfile.read(path, dtype="float32")
    hop, window = 80, 512
    frames = np.lib.stride_tricks.sliding_window_view(samples / np.abs(samples).max(), window)
    spectra = np.log1p(100 * np.abs(np.fft.rfft(frames[::hop] * np.hanning(window))))
    flux = np.maximum(0, spectra[2:] - spectra[:-2]).sum(axis=1)
    times = (np.arange(len(flux)) * hop + hop + window / 2) / rate
    onsets = np.unique(np.loadtxt(path.with_suffix(".tsv"))[:, 0])
    gaps = np.diff(onsets, prepend=-1, append=np.inf)
    alone = onsets[(gaps[:-1] > 0.12) & (gaps[1:] > 0.12)]
    errors = []
    for onset in alone:
        near = np.abs(times - onset) < 0.1
        errors.append(times[near][np.argmax(flux[near])] - onset)
    return np.array(errors)


def test_labels_lie_on_the_sound_in_spite_of_changing_tempos(script, tmp_path, fluidsynth):
    (tmp_path / "midi").mkdir()
    write_scale(tmp_path / "midi" / "a.mid", count=40)
    script.main([str(tmp_path / "midi"), "--out", str(tmp_path / "out"), "--fonts", FONT])
    errors = onset_errors(tmp_path / "out" / FONT / "a-1.flac")
    assert len(errors) == 40
    assert np.abs(errors).max() < 0.03


@pytest.mark.skipif(not SCORES.exists(), reason="the scores are not there")
def test_labels_lie_on_the_sound_of_three_performances(script, tmp_path, fluidsynth):
    (tmp_path / "midi").mkdir()
    for name in ("chpn-p1.mid", "chpn-p7.mid", "burg_perlen.mid"):
        shutil.copy(SCORES / name, tmp_path / "midi")
    script.main([str(tmp_path / "midi"), "--out", str(tmp_path / "out"), "--fonts", FONT])
    for path in (tmp_path / "out").rglob("*.flac"):
        errors = onset_errors(path)
        assert len(errors) >= 10
        assert np.mean(np.abs(errors) < 0.03) > 0.9
        assert np.abs(np.median(errors[-len(errors) // 3 :])) < 0.01  # no drift at the end
