"""libmpg123's own lines do not reach stderr; everybody else's do."""

import os
import threading

import numpy as np
import pytest
import soundfile

import audiolm
from audiolm.audio.containers.remarks import without_remarks


@pytest.fixture
def damaged(tmp_path):
    """An MP3 with 500 bytes of something else in its middle."""
    draw = np.random.default_rng(0)
    path = tmp_path / "damaged.mp3"
    soundfile.write(path, 0.1 * draw.standard_normal(48_000), 16_000, format="MP3")
    data = bytearray(path.read_bytes())
    data[3000:3500] = draw.integers(0, 256, 500, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path


def test_a_damaged_mp3_is_an_error_in_one_line_and_nothing_else(damaged, capfd):
    with pytest.raises(audiolm.AudioLMError, match=r"damaged\.mp3: is cut off"):
        audiolm.read(damaged)
    assert capfd.readouterr().err == ""


def test_stderr_is_back_when_the_last_thread_is_done(capfd):
    first_is_in, second_is_done = threading.Event(), threading.Event()

    def first():
        with without_remarks():
            first_is_in.set()
            second_is_done.wait()
            os.write(2, b"not seen either\n")

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait()
    with without_remarks():
        os.write(2, b"not seen\n")
    second_is_done.set()
    thread.join()
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_stderr_is_back_after_an_error(capfd):
    with pytest.raises(KeyError), without_remarks():
        raise KeyError
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
