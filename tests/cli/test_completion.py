"""Scripts for shells, and what they complete."""

import os
import shutil
import subprocess
import sys

import pytest

from audiolm.cli import main as cli

PROGRAM = [sys.executable, "-c", "from audiolm.cli.main import main; main()"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(audiolm, shell):
    answer = audiolm("completion", shell)
    assert answer.code == 0
    assert f"_AUDIOLM_COMPLETE={shell}_complete" in answer.out
    if there := shutil.which(shell):
        checked = subprocess.run([there, "-n"], input=answer.out, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_another_shell_is_refused(audiolm):
    assert audiolm("completion", "tcsh").code == 2


@pytest.mark.parametrize(
    ("words", "wanted", "unwanted"),
    [
        ("audiolm ", "plain,continue", "plain,--help"),
        ("audiolm re", "plain,resynthesize", "plain,continue"),
        ("audiolm continue --best", "plain,--best-of", "plain,--seconds"),
        ("audiolm generate --device c", "plain,cuda", "plain,auto"),
        ("audiolm continue pro", "file,pro", "plain,push"),
    ],
)
def test_what_is_completed(words, wanted, unwanted):
    """As the script for bash asks: the words so far and the number of the last one."""
    asked = {
        "_AUDIOLM_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    environment = {**os.environ, **asked}
    answer = subprocess.run(PROGRAM, env=environment, text=True, capture_output=True)
    lines = answer.stdout.splitlines()
    assert wanted in lines, answer.stderr
    assert unwanted not in lines


def test_every_verb_is_completed():
    assert {verb for verbs in cli.GROUPS.values() for verb in verbs} >= set(cli.VERBS)
    assert cli.group.list_commands(None) == [
        verb for verbs in cli.GROUPS.values() for verb in verbs if verb in cli.VERBS
    ]
