"""audiolm edit: a gap in a file, said anew."""

import numpy as np
import pytest
import soundfile
from test_bad_input import refused

from audiolm.audio.files import read
from audiolm.model import AudioLM
from audiolm.pretrained import load
from tiny import noise, tiny_model, tiny_stage


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    """A folder with a tiny model that can edit; not to be changed."""
    base = tiny_model(kinds=("parallel",))
    semantic = tiny_stage("semantic", base.codec, base.semantic, fill_in_the_middle=True)
    stages = {"semantic": semantic.rounded(), **base.stages}
    folder = tmp_path_factory.mktemp("models") / "editor"
    AudioLM(base.codec, base.semantic, stages, name="editor").save(folder)
    return folder


@pytest.fixture
def recording(tmp_path):
    """Two seconds at 22,050 Hz."""
    path = tmp_path / "recording.wav"
    noise(2.0, sample_rate=22_050).write(path)
    return path


def test_what_is_outside_the_gap_stays_to_the_bit(audiolm, editor, recording, tmp_path):
    out = tmp_path / "out.wav"
    common = ("edit", recording, "-o", out, "--start", 0.8, "--end", 1.2, "--model", editor)
    answer = audiolm(*common, "--seconds", 0.6, "--seed", 3)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{out}: 2.20 s, seed 3, took")
    before, rate = soundfile.read(recording, dtype="int16")
    after, same_rate = soundfile.read(out, dtype="int16")
    assert rate == same_rate == 22_050
    first, last = round(0.775 * rate) - 1, round(1.225 * rate) + 1
    assert np.array_equal(after[:first], before[:first])
    assert np.array_equal(after[last - len(before) :], before[last:])
    expected = load(editor).edit(read(recording), 0.8, 1.2, 0.6, seed=3).samples.clip(-1, 1)
    assert np.allclose(read(out).samples, expected, atol=1 / 32_000)


def test_options_reach_the_model(audiolm, editor, recording, tmp_path):
    out, lm, audio = tmp_path / "out.flac", load(editor), read(recording)
    common = ("edit", recording, "-o", out, "--start", 0, "--end", 0.4, "--model", editor)
    more = ("--keep-content", "--best-of", 2, "--passes", "2,1", "--levels", 1)
    answer = audiolm(*common, *more, "--json")
    assert answer.code == 0
    assert answer.json["outputs"][0]["seconds"] == pytest.approx(2.0)
    expected = lm.edit(audio, 0, 0.4, keep_content=True, best_of=2, passes=(2, 1), levels=1)
    assert np.allclose(read(out).samples, expected.samples.clip(-1, 1), atol=1 / 32_000)
    audiolm(*common, "--samples", 2)
    assert (tmp_path / "out-1.flac").read_bytes() != (tmp_path / "out-2.flac").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--start", 1.5, "--end", 1), "start: 1.5 s is not before the end"),
        (("--start", 0.5, "--end", 2.5), "end: 2.5 is no time in the recording; give 0 to 2"),
        (("--start", "nan", "--end", 1), "start: nan"),
        (("--start", 0, "--end", 2), "the gap leaves 0 s"),
        (("--start", 1, "--end", 1.001), "less than a frame"),
        (("--start", 1, "--end", 1.5, "--seconds", "nan"), "seconds: nan"),
        (("--start", 1, "--end", 1.5, "--seconds", -1), "seconds: -1"),
        (("--start", 1, "--end", 1.5, "--seconds", 1, "--keep-content"), "its length"),
        (("--start", 1, "--end", 1.5, "--passes", "4"), "passes: "),
        (("--start", 1), "Missing option '--end'"),
    ],
)
def test_gaps_that_cannot_be_are_refused(audiolm, editor, recording, tmp_path, arguments, words):
    out = tmp_path / "out.wav"
    refused(audiolm("edit", recording, "-o", out, *arguments, "--model", editor), words, out=out)


def test_a_model_that_cannot_says_what_to_train(audiolm, model, recording, tmp_path):
    out = tmp_path / "out.wav"
    gap = ("--start", 1, "--end", 1.5)
    answer = audiolm("edit", recording, "-o", out, *gap, "--model", model)
    refused(answer, "no stage parallel", "--only semantic,parallel", "fill_in_the_middle", out=out)


def test_two_channels_are_refused(audiolm, editor, tmp_path):
    path, out = tmp_path / "stereo.wav", tmp_path / "out.wav"
    soundfile.write(path, np.zeros((32_000, 2), np.float32) + 0.1, 16_000)
    answer = audiolm("edit", path, "-o", out, "--start", 1, "--end", 1.5, "--model", editor)
    refused(answer, "stereo.wav: has 2 channels", "mix it down", out=out)
