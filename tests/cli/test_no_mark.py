"""`--no-mark`, and marks in what is read."""

import numpy as np

from audiolm.audio.files import read
from audiolm.audio.metadata import read_metadata
from audiolm.audio.waveform import Audio
from audiolm.safety.watermark import Payload, mark
from tiny import noise


def test_no_mark_on_the_command_line(audiolm, model, prompt, tmp_path):
    plain, marked, streamed = (tmp_path / f"{name}.wav" for name in ("plain", "marked", "streamed"))
    arguments = ("continue", prompt, "--seconds", 0.5, "--model", model)
    answer = audiolm(*arguments, "-o", plain, "--no-mark")
    assert answer.code == 0
    assert answer.err.startswith("audiolm: warning: --no-mark: the sound carries no mark")
    assert answer.err.count("\n") == 1
    answer = audiolm(*arguments, "-o", marked)
    assert (answer.code, answer.err) == (0, "")
    assert not np.array_equal(read(plain).samples, read(marked).samples)
    assert np.array_equal(read(plain).samples[:16_000], read(marked).samples[:16_000])
    assert [read_metadata(path).origin.marked for path in (plain, marked)] == [False, True]
    answer = audiolm(*arguments, "-o", streamed, "--stream")
    assert (answer.code, answer.err) == (0, "")
    assert np.allclose(read(streamed).samples, read(marked).samples, atol=1e-3)
    assert read_metadata(streamed).origin.mode == "continuation"


def test_a_mark_in_the_prompt_is_said(audiolm, model, tmp_path):
    sound = noise(4.0)
    path = tmp_path / "prompt.wav"
    Audio(mark(sound.samples, Payload("speech", "abc")), 16_000).write(path)
    arguments = ("--seconds", 0.2, "--prompt-seconds", 4, "--model", model)
    answer = audiolm("continue", path, "-o", tmp_path / "out.wav", *arguments)
    assert answer.code == 0 and answer.err.count("\n") == 1
    assert "carries a mark" in answer.err and "family speech (abc)" in answer.err
