"""Where figures go: lines of JSON, TensorBoard, a bar that messages do not tear."""

import io
import json
import threading
from types import SimpleNamespace

import pytest
import torch

from audiolm.training import reporting
from audiolm.training.reporting import ProgressBar, TrainingLog


class Terminal(io.StringIO):
    """A stderr that is a terminal, and what would be seen on it."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines, column = [""], 0
        for character in self.getvalue():
            if character == "\n":
                lines.append("")
                column = 0
            elif character == "\r":
                column = 0
            else:
                line = lines[-1].ljust(column)
                lines[-1] = line[:column] + character + line[column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    stderr = Terminal()
    monkeypatch.setattr(reporting, "sys", SimpleNamespace(stderr=stderr))  # pytest sets sys.stderr
    return stderr


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch) -> None:
    monkeypatch.setattr(reporting, "_open_tensorboard", lambda folder: None)


def test_metrics_are_lines_of_json_and_a_second_run_appends(tmp_path) -> None:
    for step in (1, 2):
        with TrainingLog(tmp_path, "codec", quiet=True) as log:
            log.record("train", step, {"loss": 0.1 + 0.2})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"], line["loss"]) for line in lines] == [
        ("train", 1, 0.1 + 0.2),  # every digit
        ("train", 2, 0.1 + 0.2),
    ]


def test_a_line_is_on_disk_as_soon_as_it_is_recorded(tmp_path) -> None:
    with TrainingLog(tmp_path, "codec", quiet=True) as log:
        log.record("train", 1, {"loss": 1.0})
        assert (tmp_path / "log.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("left", ['{"kind": "tr', ""])
def test_what_was_left_of_a_line_is_cut_away(tmp_path, left) -> None:
    with TrainingLog(tmp_path, "codec", quiet=True) as log:
        log.record("train", 1, {"loss": 1.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(left)  # by a process that was killed
    with TrainingLog(tmp_path, "codec", quiet=True) as log:
        log.record("train", 2, {"loss": 2.0})
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_an_error_of_tensorboards_thread_is_told_once_by_whoever_meets_it(tmp_path, capsys) -> None:
    before = threading.excepthook

    def fail(error: Exception) -> None:
        raise error

    with TrainingLog(tmp_path, "codec", quiet=True):
        for error in (OSError(28, "No space left on device"), ValueError("a fault of ours")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
    assert threading.excepthook is before
    said = capsys.readouterr().err
    assert "No space left" not in said
    assert "ValueError: a fault of ours" in said


def test_messages_stand_on_lines_of_their_own_above_the_bar(tmp_path, terminal) -> None:
    with TrainingLog(tmp_path, "codec", quiet=False) as log:
        for step in range(1, 6):
            log.show(step / 5, step, {"loss": 1 / step})
            log.say(f"step {step}: validation")
            if step == 3:
                log.warn("a code is dead")
    screen = [line for line in terminal.screen() if line]
    messages = [f"codec: step {step}: validation" for step in range(1, 6)]
    messages.insert(3, "codec: warning: a code is dead")
    assert screen[:-1] == messages
    assert screen[-1].startswith("codec 100.0%|")
    assert "step 5 loss 0.2" in screen[-1]


def test_quiet_leaves_warnings_only(tmp_path, terminal) -> None:
    with TrainingLog(tmp_path, "codec", quiet=True) as log:
        log.show(0.5, 1, {"loss": 1.0})
        log.say("step 1: validation")
        log.warn("a code is dead")
    assert terminal.getvalue() == "codec: warning: a code is dead\n"


def test_there_is_no_bar_where_nobody_watches(tmp_path, capsys) -> None:
    with TrainingLog(tmp_path, "codec", quiet=False) as log:
        log.show(0.5, 1, {"loss": 1.0})
        log.say("step 1: validation")
    with ProgressBar("tokens", quiet=False) as bar:
        bar(0.5)
    assert capsys.readouterr().err == "codec: step 1: validation\n"


def test_a_rank_that_does_not_write_leaves_no_trace(tmp_path, terminal) -> None:
    with TrainingLog(tmp_path / "log", "codec", quiet=False, writes=False) as log:
        log.show(0.5, 1, {"loss": 1.0})
        log.say("step 1")
        log.warn("a code is dead")
        log.record("train", 1, {"loss": 1.0})
        log.keep_audio(1, {"original": torch.zeros(1000)})
    assert not (tmp_path / "log").exists()
    assert terminal.getvalue() == ""


def test_a_share_is_shown_in_per_cent(terminal) -> None:
    with ProgressBar("tokens", quiet=False) as bar:
        bar(0.25)
    assert terminal.screen()[0].startswith("tokens  25.0%|")


class Board:
    """What TensorBoard would be given."""

    def __init__(self) -> None:
        self.scalars, self.audio, self.images = {}, {}, {}
        self.closed = False

    def add_scalar(self, name, value, step) -> None:
        self.scalars[name] = (value, step)

    def add_audio(self, name, samples, step, sample_rate) -> None:
        self.audio[name] = (samples, sample_rate)

    def add_image(self, name, image, step) -> None:
        self.images[name] = image

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_figures_waveforms_and_their_spectrograms(tmp_path, monkeypatch) -> None:
    board = Board()
    monkeypatch.setattr(reporting, "_open_tensorboard", lambda folder: board)
    tone = 2 * torch.sin(2 * torch.pi * 2000 * torch.arange(16_000) / 16_000)  # too loud
    with TrainingLog(tmp_path, "codec", quiet=True) as log:
        log.record("validation", 7, {"loss": 1.5})
        log.keep_audio(7, {"original": tone})
    assert board.scalars == {"validation/loss": (1.5, 7)}
    samples, rate = board.audio["original"]
    assert rate == 16_000 and float(samples.abs().max()) == 1.0
    picture = board.images["original/spectrogram"]
    assert picture.shape == (1, 257, 126)
    assert float(picture.min()) >= 0 and float(picture.max()) <= 1
    assert int(picture[0, :, 60].argmax()) == 256 - 64  # 2 kHz, low frequencies below
    assert board.closed
