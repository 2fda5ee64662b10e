"""How near a reconstruction comes to its recording: ViSQOL, STOI, PESQ and SI-SDR.

Definitions: ViSQOL (Chinen and others, 2020) and PESQ (ITU-T P.862.2, wide band) estimate a mean
opinion score, STOI (Taal and others, 2011) intelligibility, SI-SDR (Le Roux and others, 2019) the
distance of waveforms up to a factor. The first three come from the packages that are published for
them.

Convention: every function takes what was made and then the recording, which begin together; they
are compared at 16 kHz (ViSQOL's audio mode at 48 kHz). All but ViSQOL and PESQ, which align them
themselves, look at the samples that both have. None is returned where a metric has no answer.
"""

import warnings
from typing import Literal

import numpy as np

from audiolm.audio.resample import resample
from audiolm.audio.waveform import Audio
from audiolm.evaluation.requirements import Skipped, extra
from audiolm.shapes import SAMPLE_RATE

WORST_VISQOL = 1.0
WORST_PESQ = 1.0
LARGEST_SI_SDR = 100.0
"""dB. What differs by less than float32 can say counts as equal."""

UNITS = {"visqol": "MOS", "stoi": "", "si_sdr": "dB"}
"""Metrics that `evaluate` returns."""

VisqolMode = Literal["speech", "audio"]


def validate(made: Audio, real: Audio) -> None:
    """Check a pair.

    Raises:
        ValueError: one of the two has no samples, or some that are not finite.
    """
    for name, audio in (("made", made), ("real", real)):
        if not len(audio.samples) or not np.isfinite(audio.samples).all():
            raise ValueError(f"{name}: has no samples, or some that are not finite")


def evaluate(made: Audio, real: Audio, visqol: "Visqol") -> dict[str, float | None]:
    """All metrics of `UNITS`, by name.

    Args:
        made: what was made of the recording.
        real: the recording.
        visqol: a ViSQOL that has been set up.
    """
    validate(made, real)
    return {
        "visqol": visqol.score(made, real),
        "stoi": stoi(made, real),
        "si_sdr": si_sdr(made, real),
    }


class Visqol:
    """ViSQOL (Table I): 1 is bad; even a recording against itself stays below 5.

    Args:
        mode: `speech` looks at 16 kHz with the deep-lattice mapper, as the published program does
            by default; `audio`, for music, at 48 kHz with the support-vector mapper.

    Raises:
        Skipped: without the package, or without the mapper: the polynomial that visqol-python
            falls back to gives metrics up to 1.5 points higher, which compare with none.
    """

    def __init__(self, mode: VisqolMode) -> None:
        package = extra("visqol")
        self.mode = mode
        self.mapper = {"speech": "deep lattice", "audio": "support vectors"}[mode]
        self.sample_rate = {"speech": 16_000, "audio": 48_000}[mode]
        self._api = package.VisqolApi()
        try:
            self._api.create(mode=mode, use_lattice_model=True if mode == "speech" else None)
        except ImportError as error:
            raise Skipped(
                f"ViSQOL's speech mode needs its deep-lattice mapper ({error})",
                'pip install "visqol-python[lattice,accel]"',
            ) from None

    def __reduce__(self) -> tuple[type["Visqol"], tuple[VisqolMode]]:
        """Pickled as what it is made from: another process sets it up anew."""
        return Visqol, (self.mode,)

    def score(self, made: Audio, real: Audio) -> float | None:
        """Mean opinion score of `made` beside `real`, 1 to 5.

        None where ViSQOL finds nothing to compare, as in silence. It divides by the loudness of
        `made`, so that silence in place of sound is given the worst score here.
        """
        reference, degraded = (
            resample(samples, SAMPLE_RATE, self.sample_rate).astype(np.float64)
            for samples in (_samples(real), _samples(made))
        )
        if not reference.any():
            return None
        if not degraded.any():
            return WORST_VISQOL
        try:
            result = self._api.measure_from_arrays(reference, degraded, self.sample_rate)
        except (IndexError, ValueError):  # no stretch of it is loud enough, or long enough
            return None
        return float(result.moslqo)


def stoi(made: Audio, real: Audio) -> float | None:
    """Short-time objective intelligibility, about 0 to 1; None where there is too little speech.

    Raises:
        Skipped: without pystoi.
    """
    measure = extra("pystoi").stoi
    a, b = paired(made, real)
    with warnings.catch_warnings():
        # pystoi warns, and returns 1e-5, when less than 0.4 s is left without the silence.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(b, a, SAMPLE_RATE))
        except RuntimeWarning:
            return None


def pesq(made: Audio, real: Audio) -> float | None:
    """Wide-band PESQ, 1 to 4.64; None where there is no speech.

    Raises:
        Skipped: without the package.
    """
    package = extra("pesq")
    a, b = paired(made, real)
    if not a.any():  # PESQ scales what was made to a loudness, and silence has none
        return WORST_PESQ if b.any() else None
    try:
        return float(package.pesq(SAMPLE_RATE, b, a, "wb"))
    except package.PesqError:  # no utterance found, or less than a quarter of a second
        return None


def si_sdr(made: Audio, real: Audio) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB, at most 100; None for silence.

    (Le Roux and others, 2019.) Both signals have their mean taken off first.
    """
    a, b = (x - x.mean() for x in paired(made, real))
    power = float(b @ b)
    if power == 0:
        return None
    target = (a @ b) / power * b
    noise = a - target
    ratio = float(target @ target) / max(float(noise @ noise), 1e-300)
    return min(LARGEST_SI_SDR, 10 * float(np.log10(max(ratio, 1e-10))))


def _samples(audio: Audio) -> np.ndarray:
    return audio.resampled(SAMPLE_RATE).samples


def paired(made: Audio, real: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (T,), T the shorter of the two lengths."""
    a, b = _samples(made), _samples(real)
    length = min(len(a), len(b))
    return a[:length].astype(np.float64), b[:length].astype(np.float64)
