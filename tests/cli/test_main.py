"""The command as a whole: help, exit codes, one line for whatever goes wrong."""

import importlib.util
import os
import subprocess
import sys
import time
import warnings

import click
import pytest

from audiolm._version import __version__
from audiolm.cli import main as cli
from audiolm.errors import AudioError

COMMON = ("--model", "--seed", "--temperature", "--top-k", "--top-p", "--device", "--threads")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb(audiolm, arguments):
    answer = audiolm(*arguments)
    assert answer.code == 0
    assert answer.err == ""
    for verb, (_, says) in cli.VERBS.items():
        assert f"{verb} " in answer.out
        assert says in answer.out


def test_version(audiolm):
    assert audiolm("--version").out == f"audiolm {__version__}\n"


def test_every_verb_stands_in_one_group(audiolm):
    grouped = [verb for verbs in cli.GROUPS.values() for verb in verbs]
    assert len(grouped) == len(set(grouped))
    assert set(cli.VERBS) <= set(grouped)
    out = audiolm("--help").out
    places = [
        out.index(f"\n{wish}:") for wish in cli.GROUPS if set(cli.GROUPS[wish]) & set(cli.VERBS)
    ]
    assert places == sorted(places)
    for command, says in cli.EXAMPLES:
        line = next(line for line in out.splitlines() if command in line)
        assert line.endswith(says)
        assert len(line) <= 100
        assert command.split()[1] in cli.VERBS


WITHOUT_SAMPLING = ("train", "tokenize", "report", "sweep", "push", "completion", "serve")


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb not in WITHOUT_SAMPLING])
def test_every_verb_takes_the_common_options(audiolm, verb):
    answer = audiolm(verb, "--help")
    assert answer.code == 0
    for option in (*COMMON, "--quiet", "--json"):
        assert option in answer.out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_module(verb):
    assert importlib.util.find_spec(cli.VERBS[verb][0].partition(":")[0])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sing"], "No such command 'sing'; see audiolm --help"),
        (["continue"], "Missing argument 'PROMPT'; see audiolm continue --help"),
        (["continue", "a.wav"], "Missing option '-o'"),
        (["generate", "-o", "a.wav", "--loud"], "No such option"),
        (["generate", "-o", "a.wav", "--seed", "-1"], "Invalid value for '--seed'"),
        (["generate", "-o", "a.wav", "--temperature", "1,2"], "not three numbers like 0.6,0.8,0.6"),
        (["generate", "-o", "a.wav", "--device", "abacus"], "Invalid value for '--device'"),
        (["continue", "a.wav", "-o", "b.wav", "--baseline", "none"], "'--baseline'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(audiolm, arguments, says):
    answer = audiolm(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("audiolm: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err.replace(" '-o' / '--out'", " '-o'")


def failing(error: BaseException) -> click.Command:
    @click.command("fail")
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (AudioError("a.wav: is\nbroken"), 2, "audiolm: a.wav: is broken\n"),
        (KeyboardInterrupt(), 130, "audiolm: interrupted\n"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "audiolm: ZeroDivisionError: division; a fault",
        ),
    ],
)
def test_whatever_is_raised_becomes_one_line_and_a_code(audiolm, monkeypatch, error, code, says):
    monkeypatch.setattr(cli.Verbs, "get_command", lambda *_: failing(error))
    answer = audiolm("info")
    assert answer.code == code
    assert answer.err.lstrip().startswith(says)
    assert answer.err.strip().count("\n") == 0
    assert "Traceback" not in answer.err


def test_a_traceback_is_shown_when_asked(audiolm, monkeypatch):
    monkeypatch.setattr(cli.Verbs, "get_command", lambda *_: failing(ZeroDivisionError("oh")))
    monkeypatch.setenv("AUDIOLM_TRACEBACK", "1")
    answer = audiolm("info")
    assert answer.code == 1
    assert "Traceback" in answer.err


def test_a_warning_of_ours_is_one_line_and_others_are_for_developers(audiolm, monkeypatch):
    class OurWarning(UserWarning):
        __module__ = "audiolm.somewhere"

    @click.command("warn")
    def command() -> None:
        warnings.warn("a.wav: is\nodd", OurWarning, stacklevel=1)
        warnings.warn("spam and\neggs", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(cli.Verbs, "get_command", lambda *_: command)
    answer = audiolm("info")
    assert (answer.code, answer.err) == (0, "audiolm: warning: a.wav: is odd\n")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_needs_no_torch(option):
    """These take a tenth of a second; with PyTorch, which takes more than one, they would not."""
    code = (
        "import sys; from audiolm.cli.main import main; main([sys.argv[1]]); "
        "sys.exit(bool({'torch', 'numpy', 'soundfile'} & set(sys.modules)))"
    )
    started = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code, option], capture_output=True).returncode == 0
    assert time.perf_counter() - started < 5  # on a machine that is busy with other tests


def test_threads_wait_without_using_the_core_of_another_program():
    """libgomp reads this when PyTorch is loaded; what the user has set stays."""
    code = (
        "import os, sys; from audiolm.cli.main import main; main(['--version']); "
        "assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    )
    others = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    for own, is_set in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=others | own
        )
        assert answer.stdout.splitlines()[-1] == is_set, answer.stderr


def test_the_process_exits_with_the_code(tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys; from audiolm.cli.main import main; sys.exit(main())",
    ]
    missing = tmp_path / "nothing.wav"
    answer = subprocess.run(
        [*command, "continue", missing, "-o", tmp_path / "out.wav"], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"audiolm: {missing}: there is no such file")
    assert answer.stderr.count("\n") == 1
