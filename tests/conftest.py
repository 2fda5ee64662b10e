"""What all tests share: shapes checked at run time, speech made by rule, and folders of it."""

import sys
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for `from reference.... import ...`
# Before audiolm is imported. Rooms above these are tested with stand-ins for whole models.
CHECKED = [f"audiolm.{room}" for room in ("audio", "data", "codec", "semantic", "stages")]
jaxtyping.install_import_hook(CHECKED, "type_checks.checked")
torch.set_num_threads(1)

VOWELS = [
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
]
"""Formants in Hz of an adult voice."""


def synthesise(
    seconds: float, seed: int = 0, speaker: int = 0, sample_rate: int = 16_000
) -> np.ndarray:
    """Speech-like sound (T,) float32 in [-0.5, 0.5]: the same for the same arguments, anywhere.

    Syllables of a hiss and a vowel (harmonics of a gliding pitch under three formants), and pauses
    between them. `seed` chooses what is said, `speaker` the pitch and the length of the throat.
    """
    content, voice = np.random.default_rng(seed), np.random.default_rng(1000 + speaker)
    pitch, throat = voice.uniform(90, 240), voice.uniform(0.9, 1.15)
    total = round(seconds * sample_rate)
    samples = np.zeros(total)
    at = round(content.uniform(0.0, 0.1) * sample_rate)
    while at < total:
        hiss, vowel = (round(content.uniform(a, 2 * a) * sample_rate) for a in (0.04, 0.12))
        formants = throat * np.array(VOWELS[content.integers(len(VOWELS))])
        f0 = pitch * content.uniform(0.9, 1.1) * np.linspace(1.0, content.uniform(0.8, 1.2), vowel)
        phase = 2 * np.pi * np.cumsum(f0) / sample_rate
        voiced = np.zeros(vowel)
        for harmonic in range(1, int(3500 / pitch)):
            frequency = harmonic * f0
            gain = sum(1 / (1 + ((frequency - formant) / 90) ** 2) for formant in formants)
            voiced += gain * np.sin(harmonic * phase)
        noise = 0.15 * np.diff(content.standard_normal(hiss + 1))
        syllable = np.concatenate([noise * np.hanning(hiss), voiced * np.hanning(vowel)])
        there = min(len(syllable), total - at)
        samples[at : at + there] = syllable[:there]
        at += len(syllable)
        if content.random() < 0.3:
            at += round(content.uniform(0.05, 0.3) * sample_rate)
    peak = np.abs(samples).max()
    return (0.5 * samples / peak if peak > 0 else samples).astype(np.float32)


@pytest.fixture(scope="session")
def speech_like() -> Callable[..., np.ndarray]:
    """`speech_like(seconds, seed=0, speaker=0, sample_rate=16000)`: see `synthesise`."""
    return synthesise


@pytest.fixture
def corpus_folder(tmp_path) -> Callable[..., Path]:
    """`corpus_folder(count, ...)`: writes a corpus of `count` WAV files below `tmp_path`."""

    def make(
        count: int,
        layout: str = "plain",
        speakers: int = 2,
        seconds: float = 1.0,
        name: str = "corpus",
    ) -> Path:
        """Recordings of `seconds`, each 0.1 s longer than the one before it.

        `plain`: corpus/000.wav. `librispeech`: corpus/100/1/100-1-0000.wav, the speakers in turn.
        """
        root = tmp_path / name
        for number in range(count):
            speaker = 100 + number % speakers
            path = root / f"{number:03d}.wav"
            if layout == "librispeech":
                path = root / str(speaker) / "1" / f"{speaker}-1-{number:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = synthesise(seconds + 0.1 * number, seed=number, speaker=speaker)
            soundfile.write(path, samples, 16_000, subtype="PCM_16")
        return root

    return make


@pytest.fixture(scope="session")
def training_corpus(tmp_path_factory) -> Path:
    """Ten recordings of 2 to 4.7 s by five speakers, laid out as LibriSpeech; not to be changed."""
    root = tmp_path_factory.mktemp("corpus")
    for number in range(10):
        speaker = 100 + number % 5
        path = root / str(speaker) / "1" / f"{speaker}-1-{number:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = synthesise(2.0 + 0.3 * number, seed=number, speaker=speaker)
        soundfile.write(path, samples, 16_000, subtype="PCM_16")
    return root


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory, training_corpus) -> Path:
    """What `audiolm train` makes of `training_corpus` with the preset tiny; not to be changed."""
    from audiolm.cli.main import main

    out = tmp_path_factory.mktemp("trained") / "model"
    arguments = ["train", str(training_corpus), "--out", str(out), "--preset", "tiny", "--quiet"]
    assert main(arguments) == 0
    return out
