"""Recognisers of speech: sound to words, offline.

`pocketsphinx` brings its English model in its wheel; better ones are a folder of a Whisper, a
wav2vec 2.0 or a HuBERT-CTC model as transformers saves it, which the user has downloaded. What
differs between recognisers is large: metrics compare only where the recogniser is the same.
"""

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from audiolm.audio.files import to_int16
from audiolm.audio.waveform import Audio
from audiolm.errors import ConfigurationError
from audiolm.evaluation.requirements import Skipped, extra
from audiolm.shapes import SAMPLE_RATE

POCKETSPHINX = "pocketsphinx"
"""The name of the recogniser that needs no download."""

_CTC = ("wav2vec2", "hubert", "wavlm", "wav2vec2-conformer", "wav2vec2-bert")
"""`model_type` of the models that `AutoModelForCTC` reads."""


class Recogniser(Protocol):
    """Sound to words."""

    name: str
    """What metrics are labelled with."""

    def transcribe(self, audio: Audio) -> str:
        """The words, in whatever spelling; empty where none is heard."""


def load_recogniser(name: str, device: torch.device) -> Recogniser:
    """The recogniser of a name.

    Args:
        name: `pocketsphinx`, or a folder of a transformers model.
        device: where the model computes; pocketsphinx knows the CPU only.

    Raises:
        Skipped: without the package that it needs.
        ConfigurationError: the folder is missing or holds no such model.
    """
    if name == POCKETSPHINX:
        return Pocketsphinx()
    return TransformersRecogniser(Path(name), device)


class Pocketsphinx:
    """CMU Sphinx with its English model: fast and weak.

    Each recording is heard by itself, so that the order of recordings does not matter.
    """

    def __init__(self) -> None:
        pocketsphinx = extra("pocketsphinx")
        self.name = f"{POCKETSPHINX} {version(POCKETSPHINX)}"
        self._decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", cmn="batch")

    def transcribe(self, audio: Audio) -> str:
        """The words in lower case."""
        samples = to_int16(audio.resampled(SAMPLE_RATE).samples)
        self._decoder.reinit_feat()  # it follows the noise from one recording to the next
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return "" if hypothesis is None else str(hypothesis.hypstr)


class TransformersRecogniser:
    """A model that transformers has saved into a folder; nothing is fetched.

    Args:
        folder: holds config.json, weights, and the tokenizer's and feature extractor's files.
        device: where it computes.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        try:
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        except (OSError, ValueError, KeyError):
            raise ConfigurationError(
                f"recogniser: {folder} is no folder of a transformers model (no config.json with a "
                f"model_type); give {POCKETSPHINX} or such a folder"
            ) from None
        if kind != "whisper" and kind not in _CTC:
            raise ConfigurationError(
                f"recogniser: {folder} holds a model of type {kind}, which does not recognise "
                "speech here; give a Whisper, wav2vec2 or HuBERT-CTC model"
            )
        try:
            transformers = import_module("transformers")
        except ImportError as error:
            raise Skipped(
                f"{folder} is read by transformers ({error})", "pip install transformers"
            ) from None
        model_class = "AutoModelForSpeechSeq2Seq" if kind == "whisper" else "AutoModelForCTC"
        try:
            # Any: which classes transformers exports depends on its version and on the folder.
            self._processor: Any = transformers.AutoProcessor.from_pretrained(
                folder, local_files_only=True
            )
            self._model: Any = getattr(transformers, model_class).from_pretrained(
                folder, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"recogniser: {folder} is not complete ({' '.join(str(error).split())[:200]}); "
                "save model and processor into it again"
            ) from None
        self._model.float().to(device).eval()  # half precision as stored would not fit the features
        self._device = device
        self._spoken = kind == "whisper"
        self.name = f"{kind} {folder.resolve().name} (transformers {transformers.__version__})"

    @torch.inference_mode()
    def transcribe(self, audio: Audio) -> str:
        """The words as the model spells them: Whisper with capitals and punctuation."""
        samples: np.ndarray = audio.resampled(SAMPLE_RATE).samples
        inputs = self._processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        inputs = inputs.to(self._device)
        if self._spoken:
            ids = self._model.generate(**inputs)
        else:
            ids = self._model(**inputs).logits.argmax(-1)  # (1, frames)
        return str(self._processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()
