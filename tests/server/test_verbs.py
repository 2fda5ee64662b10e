"""The verbs over HTTP: what comes back is what the model makes, sample by sample."""

import io

import numpy as np
import pytest
import soundfile
from serving import samples_of, wav
from starlette.testclient import TestClient

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.safety.detector import Detector
from audiolm.server import verbs
from audiolm.server.app import create_app
from audiolm.server.served import ServedModel
from audiolm.stages import Sampling
from safety.made_up import CONFIG
from tiny import noise


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    """As a server reads it: rounded to 16 bits."""
    path = tmp_path_factory.mktemp("prompt") / "a.wav"
    noise(1.0).write(path)
    return read(path)


def alike(answer, audio: Audio) -> bool:
    """To within the tolerance of a codec's streams, and 16 bits."""
    given = samples_of(answer.content)
    return len(given) == len(audio.samples) and np.allclose(
        given, audio.samples.clip(-1, 1), atol=2e-4
    )


def test_a_continuation_is_what_the_model_streams(post, lm, prompt):
    answer = post("continuations", seconds=0.7, seed=3, format="pcm")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/pcm")
    assert answer.headers["x-prompt-samples"] == "16000"
    assert alike(answer, lm.continuation(prompt, 0.7, seed=3, acoustic="autoregressive"))


def test_it_is_a_wav_unless_asked_otherwise(post, lm, prompt):
    answer = post("continuations", seconds=0.5, continuation_only="true")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.headers["x-prompt-samples"] == "0"
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    expected = lm.continuation(prompt, 0.5, continuation_only=True).samples.clip(-1, 1)
    assert rate == 16_000 and np.allclose(samples, expected, atol=2e-4)


def test_every_field_reaches_the_model(post, lm, prompt):
    answer = post(
        "continuations",
        seconds=0.5,
        seed=4,
        model="tiny",
        temperature="2,1.5,2",
        top_k=5,
        levels=2,
        best_of=2,
        acoustic="parallel",
        prompt_seconds=0.8,
        format="pcm",
    )
    sampling = {
        kind: Sampling(temperature=heat, top_k=5)
        for kind, heat in (("semantic", 2), ("coarse", 1.5), ("parallel", 1.5), ("fine", 2))
    }
    expected = lm.continuation(
        prompt.last(0.8),
        0.5,
        seed=4,
        sampling=sampling,
        levels=2,
        best_of=2,
        acoustic="parallel",
    )
    assert answer.status_code == 200 and alike(answer, expected)


def test_the_baseline_streams_too(post, lm, prompt):
    answer = post("continuations", seconds=0.5, baseline="acoustic-only", format="pcm")
    assert alike(answer, lm.continuation(prompt, 0.5, baseline="acoustic-only"))


def test_of_a_long_prompt_the_end_is_heard(post, lm):
    long = noise(9.0)
    answer = post("continuations", wav(long), seconds=0.3, format="pcm")
    assert answer.headers["x-prompt-samples"] == "48000"
    assert len(samples_of(answer.content)) == 48_000 + 4800


@pytest.mark.parametrize("form", ["FLAC", "OGG"])
def test_other_forms_of_recording_and_rates(post, form):
    recording = noise(1.0, sample_rate=48_000)
    answer = post("reconstructions", wav(recording, form, channels=2), format="pcm")
    assert answer.status_code == 200
    assert len(samples_of(answer.content)) == 16_000


def test_a_resynthesis(post, lm, prompt):
    answer = post("resyntheses", seed=2, best_of=2, format="pcm")
    assert alike(answer, lm.acoustic_generation(prompt, seed=2, best_of=2))


def test_a_reconstruction_with_fewer_levels(post, lm, prompt):
    answers = {n: post("reconstructions", levels=n, format="pcm") for n in (1, 4)}
    assert all(alike(answer, lm.reconstruction(prompt, n)) for n, answer in answers.items())
    assert answers[1].content != answers[4].content


def test_an_edit_is_asked_of_the_model(post, lm, monkeypatch):
    asked = {}

    def edit(audio, start, end, **others):
        asked.update(start=start, end=end, **others)
        return Audio(audio.samples[::-1].copy(), audio.sample_rate)

    monkeypatch.setattr(lm, "edit", edit, raising=False)
    answer = post("edits", start=0.2, end=0.6, seconds=0.5, seed=3, format="pcm")
    assert (answer.status_code, len(samples_of(answer.content))) == (200, 16_000)
    expected = {"start": 0.2, "end": 0.6, "seconds": 0.5, "keep_content": False, "seed": 3}
    assert expected.items() <= asked.items() and asked["best_of"] == 4


def test_a_detection_is_json(post, lm, monkeypatch):
    found = {"probability": np.float32(0.25), "timeline": np.zeros((2, 3)), "mark": None}
    monkeypatch.setattr(lm, "detector", Detector(CONFIG))
    monkeypatch.setattr(verbs, "detect_channels", lambda blocks, chosen: found)
    answer = post("detections")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"probability": 0.25, "timeline": [[0.0] * 3] * 2, "mark": None}


def test_what_a_model_lacks_is_said_in_one_line(post, lm, monkeypatch):
    answer = post("detections")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("this model has no detector")
    answer = post("edits", start=0.1, end=0.5, model="bare")
    assert answer.status_code == 400
    assert "has no stage semantic" in answer.json()["error"]
    answer = post("continuations", model="bare")
    assert answer.status_code == 400
    assert "the model has no stage semantic" in answer.json()["error"]


def test_a_model_says_what_it_can(ask):
    about = ask().get("/v1/models").json()
    assert about["limits"] == {"upload_bytes": 25_000_000, "seconds": 60.0}
    tiny, bare = about["models"]
    assert (tiny["name"], tiny["levels"], tiny["level_kbps"]) == ("tiny", 4, 0.25)
    assert tiny["temperatures"] == {way: [0.6, 0.8, 0.6] for way in ("autoregressive", "parallel")}
    assert tiny["prompt"] == "/v1/models/tiny/prompt"
    assert "continuation" not in tiny["lacking"]
    assert bare["lacking"]["continuation"] == "this model has no semantic and coarse stage"
    assert {"acoustic_only", "parallel", "guidance"} < set(bare["lacking"])
    assert bare["prompt"] is None


def test_the_recording_that_a_model_brings(ask, models):
    client = ask()
    assert client.get("/v1/models/tiny/prompt").content == models["tiny"].prompt.read_bytes()
    assert client.get("/v1/models/bare/prompt").status_code == 404
    assert client.get("/v1/models/..%2f..%2fetc/prompt").status_code == 404


def test_a_folder_may_be_called_as_it_likes(models):
    odd = ServedModel("my model #2?", models["tiny"].lm, models["tiny"].prompt)
    with TestClient(create_app({odd.name: odd}), base_url="http://127.0.0.1") as client:
        (about,) = client.get("/v1/models").json()["models"]
        assert client.get(about["prompt"]).content == odd.prompt.read_bytes()
