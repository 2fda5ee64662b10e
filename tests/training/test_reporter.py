"""What a training tells between its steps, to whom, and what it keeps to itself."""

import pytest

from audiolm.training.reporting import Reporter


def everything(messages: Reporter, path) -> None:
    """Each kind of message once."""
    messages.say("codec: copied")
    messages.warn("it is late")
    messages.report("tokens", {"hours": 1.23456, "rate": 17.0}, ["few of them"])
    messages.report_skipped(["a.wav: is empty", "b.wav: holds NaN"], path)
    with messages.bar("clustering") as bar:
        bar(0.5)


SAID = ["codec: copied", "tokens: hours 1.235, rate 17"]
WARNED = ["it is late", "tokens: warning: few of them"]


@pytest.mark.parametrize("quiet", [False, True])
def test_who_wants_quiet_is_told_what_is_wrong_and_no_more(tmp_path, capsys, quiet) -> None:
    path = tmp_path / "skipped.txt"
    everything(Reporter(quiet=quiet), path)
    captured = capsys.readouterr()
    skipped = (
        "recordings: warning: 2 files cannot be read and are left out, "
        f"listed in {path}; the first: a.wav: is empty"
    )
    expected = [SAID[0], WARNED[0], SAID[1], WARNED[1], skipped]
    if quiet:
        expected = [*WARNED, skipped]
    assert captured.err.splitlines() == expected
    assert captured.out == ""
    assert path.read_text().splitlines() == ["a.wav: is empty", "b.wav: holds NaN"]


def test_only_the_process_that_writes_speaks(tmp_path, capsys) -> None:
    everything(Reporter(quiet=False, writes=False), tmp_path / "skipped.txt")
    assert capsys.readouterr() == ("", "")
    assert not any(tmp_path.iterdir())


def test_where_nothing_is_skipped_nothing_is_said(tmp_path, capsys) -> None:
    Reporter(quiet=False).report_skipped([], tmp_path / "skipped.txt")
    assert capsys.readouterr() == ("", "")
    assert not any(tmp_path.iterdir())
