"""Every curl command of docs/serve.md is run against a server."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audiolm.audio.files import read
from tiny import noise

GUIDE = Path(__file__).parents[2] / "docs" / "serve.md"
COMMANDS = re.findall(r"^curl .*$", GUIDE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_commands_of_the_guide(live, tmp_path):
    assert len(COMMANDS) >= 8
    address = live()
    noise(1.5).write(tmp_path / "prompt.wav")
    lengths = {}
    for command in COMMANDS:
        command = command.replace("http://127.0.0.1:8000", address)
        answer = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert answer.returncode == 0, f"{command}\n{answer.stderr}"
        if out := "".join(re.findall(r"-o (\S+\.wav)$", command)):
            content = (tmp_path / out).read_bytes()
            # This model may lack what an edit takes, and says so.
            lengths[out] = None if content[:1] == b"{" else read(tmp_path / out).seconds
    assert lengths["continuation.wav"] == pytest.approx(1.48 + 7, abs=0.04)
    assert lengths["another-voice.wav"] == lengths["three-levels.wav"] == 1.5
    assert (tmp_path / "continuation.pcm").stat().st_size == 2 * 32_000
