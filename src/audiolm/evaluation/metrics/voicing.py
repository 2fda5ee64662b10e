"""Hoarseness: how well the periodicity and pitch of a voice survive.

Definitions, after CARGAN (Morrison and others, ICLR 2022, section 4): both recordings are tracked
every 10 ms. *Periodicity RMSE*: root mean square difference of the periodicity (0 to 1) of all
frames. *Voicing F1*: of the decision whether a frame is voiced, the recording being right. *Pitch
error*: root mean square difference in cents, over frames that are voiced in both. Besides:
*periodicity change*: mean periodicity of what was made less the recording's, over the frames that
are voiced in the recording; below zero is hoarser. *PESQ*: wide band, of the published package.

The tracker is Praat's autocorrelation (Boersma, 1993), not CARGAN's CREPE: values compare among
themselves. The periodicity of a frame is the strength of its best candidate, voiced or not.

Convention: what was made and then the recording, which begin together; compared at 16 kHz over the
frames that both have. None is returned where a metric has no answer: no frame is voiced.
"""

from dataclasses import dataclass

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.quality import pesq, validate
from audiolm.evaluation.requirements import extra
from audiolm.shapes import SAMPLE_RATE

UNITS = {
    "periodicity_rmse": "",
    "periodicity_change": "",
    "voicing_f1": "%",
    "pitch_error": "cents",
    "pesq": "MOS",
}
"""Metrics that `evaluate` returns."""

STEP, FLOOR, CEILING = 0.01, 60.0, 500.0
"""Seconds between frames; Hz between which a pitch is looked for."""
SILENCE_THRESHOLD, VOICING_THRESHOLD = 0.03, 0.45
"""Praat's own: a frame is unvoiced below this share of the loudest amplitude, or this strength."""
TRACKER = (
    f"Praat's autocorrelation by praat-parselmouth, every {1000 * STEP:g} ms, {FLOOR:g} to "
    f"{CEILING:g} Hz, silence threshold {SILENCE_THRESHOLD:g}, voicing threshold "
    f"{VOICING_THRESHOLD:g}, the other settings Praat's own"
)
"""What values depend on."""


@dataclass(frozen=True)
class PitchTrack:
    """Pitch and periodicity of one recording, frame by frame."""

    pitch: np.ndarray
    """(n,) Hz; 0 where a frame is unvoiced."""
    periodicity: np.ndarray
    """(n,) 0 to 1."""

    @property
    def voiced(self) -> np.ndarray:
        """(n,) bool."""
        voiced: np.ndarray = self.pitch > 0
        return voiced


def track(audio: Audio) -> PitchTrack:
    """Follow the pitch of a recording.

    A recording that is shorter than three periods of the lowest pitch has no frames.

    Raises:
        Skipped: without praat-parselmouth.
    """
    parselmouth = extra("parselmouth")
    samples = audio.resampled(SAMPLE_RATE).samples.astype(np.float64)
    if len(samples) <= 3 * SAMPLE_RATE / FLOOR:
        return PitchTrack(np.zeros(0), np.zeros(0))
    pitch = parselmouth.Sound(samples, SAMPLE_RATE).to_pitch_ac(
        time_step=STEP,
        pitch_floor=FLOOR,
        pitch_ceiling=CEILING,
        silence_threshold=SILENCE_THRESHOLD,
        voicing_threshold=VOICING_THRESHOLD,
    )
    candidates = pitch.to_array()  # (candidates, n), filled up with NaN
    strength = np.where(candidates["frequency"] > 0, candidates["strength"], 0.0)
    return PitchTrack(pitch.selected_array["frequency"], strength.max(axis=0).clip(0.0, 1.0))


def paired_tracks(made: PitchTrack, real: PitchTrack) -> tuple[PitchTrack, PitchTrack]:
    """Both, of the frames that both have."""
    n = min(len(made.pitch), len(real.pitch))
    return PitchTrack(made.pitch[:n], made.periodicity[:n]), PitchTrack(
        real.pitch[:n], real.periodicity[:n]
    )


def periodicity_rmse(made: PitchTrack, real: PitchTrack) -> float | None:
    """Root mean square difference of the periodicity, over all frames."""
    made, real = paired_tracks(made, real)
    if not len(real.pitch):
        return None
    return float(np.sqrt(np.mean((made.periodicity - real.periodicity) ** 2)))


def periodicity_change(made: PitchTrack, real: PitchTrack) -> float | None:
    """Mean difference of the periodicity, over frames that are voiced in the recording."""
    made, real = paired_tracks(made, real)
    if not real.voiced.any():
        return None
    return float((made.periodicity - real.periodicity)[real.voiced].mean())


def voicing_f1(made: PitchTrack, real: PitchTrack) -> float | None:
    """Harmonic mean of precision and recall of `voiced`, in percent."""
    made, real = paired_tracks(made, real)
    total = int(made.voiced.sum() + real.voiced.sum())
    return 200 * int((made.voiced & real.voiced).sum()) / total if total else None


def pitch_error(made: PitchTrack, real: PitchTrack) -> float | None:
    """Root mean square difference in cents, over frames that are voiced in both."""
    made, real = paired_tracks(made, real)
    both = made.voiced & real.voiced
    if not both.any():
        return None
    cents = 1200 * np.log2(made.pitch[both] / real.pitch[both])
    return float(np.sqrt(np.mean(cents**2)))


def evaluate(made: Audio, real: Audio) -> dict[str, float | None]:
    """All metrics of `UNITS`, by name.

    Raises:
        Skipped: without praat-parselmouth or pesq.
    """
    validate(made, real)
    tracks = track(made), track(real)
    return {
        "periodicity_rmse": periodicity_rmse(*tracks),
        "periodicity_change": periodicity_change(*tracks),
        "voicing_f1": voicing_f1(*tracks),
        "pitch_error": pitch_error(*tracks),
        "pesq": pesq(made, real),
    }
