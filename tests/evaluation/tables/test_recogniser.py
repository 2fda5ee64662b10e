"""Recognisers of speech."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.errors import ConfigurationError
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.recogniser import (
    Pocketsphinx,
    TransformersRecogniser,
    load_recogniser,
)
from tiny import noise

CPU = torch.device("cpu")


def model_folder(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    return tmp_path


def test_pocketsphinx_does_not_depend_on_the_order(speech_like):
    pytest.importorskip("pocketsphinx")
    recogniser = load_recogniser("pocketsphinx", CPU)
    assert isinstance(recogniser, Pocketsphinx)
    assert recogniser.name.startswith("pocketsphinx 5")
    speech = Audio(speech_like(2.0, seed=1), 16_000)
    hiss = 0.5 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    hiss = Audio(np.convolve(hiss, np.ones(8) / 8, "same").astype(np.float32), 16_000)
    alone = recogniser.transcribe(speech)
    recogniser.transcribe(hiss)
    assert recogniser.transcribe(speech) == alone


def test_without_pocketsphinx_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(Skipped, match=r"pip install 'audiolm\[evaluate\]'"):
        load_recogniser("pocketsphinx", CPU)


def test_a_folder_that_is_none_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"whisper-large.*give pocketsphinx or such"):
        load_recogniser(str(tmp_path / "whisper-large"), CPU)


def test_a_model_of_another_kind_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="type bert, which does not recognise speech"):
        load_recogniser(str(model_folder(tmp_path, "bert")), CPU)


def test_without_transformers_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Skipped, match="pip install transformers"):
        load_recogniser(str(model_folder(tmp_path, "whisper")), CPU)


class Inputs(dict):
    def to(self, device):
        return self


class Processor:
    """As transformers' processors: features of a waveform, text of ids."""

    def __call__(self, samples, sampling_rate, return_tensors):
        assert (sampling_rate, return_tensors) == (16_000, "pt")
        return Inputs(input_values=torch.from_numpy(samples)[None])

    def batch_decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(f"w{int(i)}" for i in row) + " " for row in ids]


class Model:
    def float(self):
        return self

    def to(self, device):
        return self

    def eval(self):
        return self

    def __call__(self, input_values):
        """Logits (1, 3, 5): the largest are at 4, 0 and the number of seconds."""
        logits = torch.zeros(1, 3, 5)
        for place, winner in enumerate((4, 0, input_values.shape[1] // 16_000)):
            logits[0, place, winner] = 1
        return SimpleNamespace(logits=logits)

    def generate(self, input_values):
        return torch.tensor([[7, input_values.shape[1]]])


@pytest.fixture
def transformers(monkeypatch):
    """A stand-in for the package: what it is asked for, and stand-ins for what it gives."""
    asked = []

    def loader(name, made):
        def from_pretrained(folder, local_files_only):
            asked.append((name, folder, local_files_only))
            return made

        return SimpleNamespace(from_pretrained=from_pretrained)

    module = SimpleNamespace(
        __version__="9.9",
        AutoProcessor=loader("AutoProcessor", Processor()),
        AutoModelForCTC=loader("AutoModelForCTC", Model()),
        AutoModelForSpeechSeq2Seq=loader("AutoModelForSpeechSeq2Seq", Model()),
    )
    monkeypatch.setitem(sys.modules, "transformers", module)
    module.asked = asked
    return module


def test_ctc_takes_the_best_of_each_frame_and_fetches_nothing(transformers, tmp_path):
    recogniser = load_recogniser(str(model_folder(tmp_path, "hubert")), CPU)
    assert recogniser.transcribe(noise(2.0, sample_rate=44_100)) == "w4 w0 w2"
    assert recogniser.name == f"hubert {tmp_path.name} (transformers 9.9)"
    assert transformers.asked == [
        ("AutoProcessor", tmp_path, True),
        ("AutoModelForCTC", tmp_path, True),
    ]


def test_whisper_generates(transformers, tmp_path):
    recogniser = TransformersRecogniser(model_folder(tmp_path, "whisper"), CPU)
    assert recogniser.transcribe(noise(1.0)) == "w7 w16000"


def test_a_folder_without_weights_is_an_error(transformers, tmp_path):
    def missing(folder, local_files_only):
        raise OSError("Error no file named model.safetensors\nfound in directory")

    transformers.AutoModelForCTC.from_pretrained = missing
    with pytest.raises(ConfigurationError, match=r"not complete \(Error no file .* found in dir"):
        load_recogniser(str(model_folder(tmp_path, "wav2vec2")), CPU)
