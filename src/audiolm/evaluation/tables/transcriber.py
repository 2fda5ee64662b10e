"""A transcriber of piano: sound to notes, offline, with weights that lie in its wheel.

transkun 2.0.1 (Yan and Duan, "Scoring time intervals using non-hierarchical Transformer for
automatic piano transcription", ISMIR 2024; MIT licence), trained on MAESTRO by others. No part of
any model here has learnt from it, so that it can judge them.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch

from audiolm.atomic import replacing
from audiolm.audio.waveform import Audio
from audiolm.evaluation.requirements import Skipped

GET_TRANSKUN = (
    "pip install 'audiolm[evaluate]' and then pip install --no-deps transkun==2.0.1 (what else its "
    "wheel asks for it needs for training only)"
)
SEGMENT, STEP = 16.0, 14.0
"""Seconds that it hears at once, and from one such stretch to the next. Its own step is 8 s: nearly
twice the work for the same notes."""


class Transcriber(Protocol):
    """Sound to notes."""

    name: str
    """What metrics are labelled with."""

    def transcribe(self, audio: Audio) -> np.ndarray:
        """The notes (n, 4), by onset: onset and offset in seconds, MIDI note, velocity."""


class Transkun:
    """transkun with the weights of its wheel.

    Args:
        device: where it computes.

    Raises:
        Skipped: without the package, or what it imports.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            self.name = f"transkun {version('transkun')}"
            with _torchaudio():
                network = import_module("transkun.ModelTransformer")
                folder = Path(network.__file__ or "").parent / "pretrained"
                settings = json.loads((folder / "2.0.conf").read_text(encoding="utf-8"))
                config = network.Config()
                vars(config).update(settings["Model"]["config"])
                # Any: the package is not typed.
                self._model: Any = network.TransKun(conf=config)
        except (ImportError, PackageNotFoundError) as error:
            raise Skipped(f"the transcriber transkun is missing ({error})", GET_TRANSKUN) from None
        kept = torch.load(folder / "2.0.pt", map_location="cpu", weights_only=True)
        self._model.load_state_dict(kept.get("best_state_dict", kept["state_dict"]))
        self._model.to(device).eval()
        self._device = device

    @torch.inference_mode()
    def transcribe(self, audio: Audio) -> np.ndarray:
        """The notes (n, 4), by onset: onset and offset in seconds, MIDI note, velocity."""
        if not audio.samples.any():
            return np.zeros((0, 4))
        samples = torch.from_numpy(audio.resampled(self._model.fs).samples)  # (T',)
        with warnings.catch_warnings(), torch.autocast(self._device.type, torch.bfloat16):
            warnings.simplefilter("ignore", UserWarning)  # of checkpoints, which training is about
            found = self._model.transcribe(
                samples[:, None].to(self._device), stepInSecond=STEP, segmentSizeInSecond=SEGMENT
            )
        # What it numbers below zero are pedals.
        rows = [(n.start, n.end, n.pitch, n.velocity) for n in found if n.pitch > 0]
        return np.array(sorted(rows), dtype=np.float64).reshape(-1, 4)


class KeptTranscripts:
    """A transcriber whose answers are kept in a folder: one that was interrupted goes on.

    Args:
        transcriber: does the work.
        folder: keeps it; made where it is missing.
    """

    def __init__(self, transcriber: Transcriber, folder: Path) -> None:
        self._transcriber = transcriber
        self._folder = folder
        self.name = transcriber.name

    def transcribe(self, audio: Audio) -> np.ndarray:
        """The notes (n, 4), by onset: onset and offset in seconds, MIDI note, velocity."""
        digest = hashlib.sha256(f"{self.name} {audio.sample_rate} ".encode())
        digest.update(audio.samples.tobytes())
        path = self._folder / f"{digest.hexdigest()[:24]}.npy"
        try:
            kept: np.ndarray = np.load(path, allow_pickle=False)
        except (OSError, ValueError):  # not there, or half of it
            kept = self._transcriber.transcribe(audio)
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, kept)
        return kept


@contextmanager
def _torchaudio() -> Iterator[None]:
    """Stands in for torchaudio, which has no release for every torch, while transkun is built.

    transkun asks it for one matrix, a mel filter bank, and then loads that matrix from its weights.
    """
    stand_in: Any = ModuleType("torchaudio")
    stand_in.functional = SimpleNamespace(
        melscale_fbanks=lambda n_freqs, n_mels, **_: torch.zeros(n_freqs, n_mels)
    )
    before = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
        if before is not None:
            sys.modules["torchaudio"] = before
