"""What the benchmarks measure with: turns, commands, the bytes of a token, and the document."""

import sys

import numpy as np
import pytest
import torch

import machine
import rivals
import stage_speed
from document import Section, markdown, number
from stage_speed import Size, decoding, stage_of
from timing import in_turns, run_command


def test_actions_take_turns_and_the_first_turn_does_not_count() -> None:
    order = []

    def action(name):
        def run() -> float:
            order.append(name)
            return float(len(order))

        return run

    times = in_turns({"a": action("a"), "b": action("b")}, repeats=2)
    assert order == ["a", "b"] * 3
    assert times == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_command_is_timed_and_its_own_memory_told() -> None:
    here = np.ones(2**25)  # 256 MiB in this process are not the command's
    program = "import time; x = b'x' * 2**26; time.sleep(0.2); print('done')"
    run = run_command([sys.executable, "-c", program])
    assert here.any()
    assert run.output == "done\n"
    assert 0.2 < run.seconds < 20
    assert 2**26 < run.peak_bytes < 2**26 + 50e6


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        run_command([sys.executable, "-c", "raise SystemExit('no such thing')"])


@pytest.mark.skipif(not hasattr(machine.os, "sched_setaffinity"), reason="Linux alone has it")
def test_a_command_can_be_kept_to_one_core() -> None:
    program = "import os; print(len(os.sched_getaffinity(0)))"
    assert run_command([sys.executable, "-c", program], cores=1).output == "1\n"


def test_a_machine_whose_cores_are_wanted_is_busy() -> None:
    assert machine.Machine("", cores=2, memory_bytes=None, load=0.6).is_busy
    assert not machine.Machine("", cores=2, memory_bytes=None, load=0.4).is_busy
    assert not machine.Machine("", cores=2, memory_bytes=None, load=None).is_busy


def test_rates_are_positive_and_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with machine.threads(1):
        assert machine.bandwidth(1, size=2**16) > 0
        assert machine.matrix_rate(torch.bfloat16, 1, size=16) > 0
    assert torch.get_num_threads() == before


def test_a_busy_process_ends_with_what_it_is_beside() -> None:
    with machine.busy_process() as process:
        assert process.poll() is None
    assert process.poll() is not None


@pytest.mark.parametrize(("kind", "pieces", "tokens"), [("semantic", 3, 2), ("coarse", 6, 20)])
def test_tokens_that_come_one_by_one_are_timed_from_the_first_on(
    kind, pieces, tokens, monkeypatch
) -> None:
    """A clock that goes on by one with every piece: between the first and the last of n, n - 1."""
    run, counted = decoding(kind, stage_of(kind, Size(1, 64)), frames=6)
    monkeypatch.setattr(stage_speed.time, "perf_counter", iter(range(100)).__next__)
    assert run() == pieces - 1
    assert counted == tokens


@pytest.mark.parametrize(("kind", "tokens"), [("fine", 48), ("parallel", 24)])
def test_tokens_that_come_together_are_timed_as_a_whole(kind, tokens) -> None:
    run, counted = decoding(kind, stage_of(kind, Size(1, 64)), frames=6)
    assert run() > 0
    assert counted == tokens


def test_the_bytes_of_a_token() -> None:
    stage = stage_of("coarse", Size(2, 64))
    stage.decoding_weights = torch.float16
    matrices = 2 * (4 * 64 * 64 + 2 * 64 * 256)  # queries, keys, values, output; up and down
    kept = 2 * 2 * 64 * 100  # keys and values of two layers, 100 positions
    assert rivals.bytes_a_token(stage, 100) == 2 * matrices + 4 * 1024 * 64 + 4 * kept


def test_a_rival_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(rivals.UnavailableError, match=r"stopped: KeyError: 'nobody'"),
        rivals.rival(sys.executable, "nobody", Size(1, 64), 1),
    ):
        pass


def test_without_their_environment_rivals_are_left_out(monkeypatch) -> None:
    def refuse():
        raise rivals.UnavailableError("no network")

    monkeypatch.setattr(rivals, "environment", refuse)
    monkeypatch.setattr(rivals, "bandwidth", lambda repeats: 1e10)
    section = rivals.measure((Size(1, 64),), (1,), repeats=1, bandwidth_repeats=1)
    (row,) = section.rows
    assert row[:2] == ["1 x 64", "1"]
    assert row[3:7] == ["–"] * 4
    assert "no network" in section.notes[0]
    assert "10.0 GB/s" in section.notes[1]


def test_a_rival_that_cannot_start_leaves_the_others_in(monkeypatch) -> None:
    monkeypatch.setattr(rivals, "environment", lambda: sys.executable)
    monkeypatch.setattr(rivals, "RIVALS", ("nobody",))
    monkeypatch.setattr(rivals, "bandwidth", lambda repeats: 1e10)
    section = rivals.measure((Size(1, 64),), (1,), repeats=1, bandwidth_repeats=1)
    assert section.rows[0][3] == "–"
    assert "nobody at 1 x 64 is left out" in section.notes[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (99.96, "100"), (12.34, "12.3"), (0.01234, "0.0123"), (None, "–")],
)
def test_numbers_have_three_digits(value, text) -> None:
    assert number(value) == text


def test_a_document_is_headings_sentences_and_tables() -> None:
    section = Section("Speed", "By a clock.", ["who", "s"], [["we", "1"]], ["A note."])
    assert markdown("# All", [section], "The end.") == (
        "# All\n\n## Speed\n\nBy a clock.\n\n| who | s |\n| --- | ---: |\n| we | 1 |\n\n"
        "A note.\n\nThe end.\n"
    )


def test_a_row_that_does_not_fit_its_header_is_refused() -> None:
    with pytest.raises(ValueError, match="not as long as its header"):
        markdown("", [Section("", "", ["who", "s"], [["we"]])])
