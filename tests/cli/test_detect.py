"""`audiolm detect`: answers, exit statuses, bad input."""

import json

import numpy as np
import pytest
import soundfile

from audiolm.cli.main import main
from audiolm.safety.watermark import MarkReader, MarkReading, Payload
from safety.made_up import hiss, tone
from test_detecting import marks, models  # noqa: F401 - fixtures


@pytest.fixture
def ask(models, capsys):  # noqa: F811
    """`ask(*arguments)`: exit status, what it printed, what it complained of."""

    def run(*arguments):
        code = main(["detect", "--model", str(models / "noisy"), *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def wav(folder, name, *pieces, rate=16_000):
    path = folder / name
    soundfile.write(path, np.concatenate(pieces), rate)
    return path


def test_a_line_and_the_timeline(ask, tmp_path) -> None:
    path = wav(tmp_path, "both.wav", tone(3.0), hiss(4.0))
    code, out, err = ask(path)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith(f"{path}: partly made (7.00 s, probability 0.9")
    assert lines[0].endswith("at 1.0% false alarms)")
    assert "not detected" in lines[1] and "7.00 s  made" in lines[2]
    assert lines[3] == "  mark: none found (p = 0.5)"


def test_a_mark_is_told_first(ask, tmp_path, monkeypatch) -> None:
    found = MarkReading(True, 1e-9, Payload.of_model("speech", "7a9" * 20), 0.5, 2.5)
    monkeypatch.setattr(MarkReader, "reading", lambda self: found)
    code, out, _ = ask(wav(tmp_path, "marked.wav", tone(3.0)))
    lines = out.splitlines()
    assert code == 0
    assert "marked.wav: marked as made; by its sound not detected (3.00 s" in lines[0]
    assert lines[-1] == "  mark: found (p = 1e-09, 0.50 - 2.50 s, model speech, version 7a9)"


def test_one_json_object(ask, tmp_path) -> None:
    made, other = wav(tmp_path, "a.wav", hiss(2.0)), wav(tmp_path, "b.flac", tone(2.0))
    code, out, _ = ask(made, other, "--json", "--false-alarms", "0.001", "--threads", "1")
    report = json.loads(out)
    assert code == 0  # whatever the verdict
    assert [one["verdict"] for one in report["files"]] == ["made", "not detected"]
    assert report["false_alarms"] == 0.001
    first = report["files"][0]
    assert first["timeline"][0].keys() == {"start", "end", "probability", "made"}
    assert first["mark"]["found"] is False and first["detector"] == "noisy"


def test_bad_files_are_told_in_a_line_each_and_the_others_answered(ask, tmp_path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    damaged = wav(tmp_path, "cut.wav", tone(2.0))
    damaged.write_bytes(damaged.read_bytes()[:20_000])
    nan = np.full(16_000, np.nan, dtype=np.float32)
    soundfile.write(tmp_path / "nan.wav", nan, 16_000, subtype="FLOAT")
    wav(tmp_path, "slow.wav", tone(1.0, 4000), rate=4000)
    good = wav(tmp_path, "good.wav", tone(2.0))
    bad = ["none.wav", ".", "empty.wav", "text.wav", "cut.wav", "nan.wav", "slow.wav"]
    code, out, err = ask(*(tmp_path / name for name in bad), good, "--json")
    assert code == 2
    assert len(err.splitlines()) == len(bad)
    assert all(line.startswith("audiolm: ") for line in err.splitlines())
    files = json.loads(out)["files"]
    assert ["error" in one for one in files] == [True] * len(bad) + [False]
    assert files[-1]["verdict"] == "not detected"


def test_silence_short_files_and_odd_rates_are_answered(ask, tmp_path) -> None:
    cases = {
        "silence.wav": (np.zeros(48_000, np.float32), 16_000, "silence"),
        "short.wav": (hiss(0.3), 16_000, "too short"),
        "sample.wav": (hiss(0.001), 16_000, "too short"),
        "narrow.wav": (tone(2.0, 8000), 8000, "not detected"),
        "wide.wav": (tone(2.0, 192_000), 192_000, "not detected"),
    }
    paths = [wav(tmp_path, name, samples, rate=rate) for name, (samples, rate, _) in cases.items()]
    code, out, err = ask(*paths, "--json")
    assert (code, err) == (0, "")
    files = json.loads(out)["files"]
    assert [one["verdict"] for one in files] == [verdict for *_, verdict in cases.values()]
    assert files[0]["probability"] is None and "nothing can be said" in files[0]["note"]
    assert "uncertain" in files[1]["note"]


def test_stereo_with_one_made_channel(ask, tmp_path) -> None:
    both = np.stack([tone(3.0), hiss(3.0)], axis=1)
    soundfile.write(tmp_path / "two.wav", both, 16_000)
    code, out, _ = ask(tmp_path / "two.wav")
    assert code == 0
    assert "made" in out and "channel 2 of 2" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["some.wav", "--false-alarms", "0.5"], "false_alarms: 0.5 is no rate"),
        (["some.wav", "--false-alarms", "nan"], "false_alarms: nan is no rate"),
        (["some.wav", "--model", "nowhere"], "there is no such model"),
        ([], "Missing argument"),
    ],
)
def test_bad_arguments(ask, arguments, says) -> None:
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert says in err and len(err.splitlines()) == 1
