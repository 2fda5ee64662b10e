"""Voices second by second, and beside them the voice of somebody else."""

import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.evaluation.tables.voice_by_second import VoiceBySecond, table

VOICES = {"a": [1.0, 0.0], "b": [0.0, 1.0]}


class Ear:
    """Knows a voice by the sign of its samples."""

    classes = ("a", "b")

    def windows(self, audio, hop):
        starts = range(0, max(1, len(audio.samples) - 15_999), hop)
        heard = ["a" if audio.samples[start] > 0 else "b" for start in starts]
        probabilities = torch.tensor([[float(v == c) for c in self.classes] for v in heard])
        return probabilities, torch.tensor([VOICES[v] for v in heard])


def voices(*signs):
    """A second of each sign."""
    seconds = [torch.full((16_000,), 0.1 * sign) for sign in signs]
    return Audio(torch.cat(seconds).numpy(), 16_000)


def test_a_drift_is_heard_when_it_comes():
    by_second = VoiceBySecond(Ear())
    by_second.hear("audiolm", voices(1, 1, 1, -1), 3.0, "a")
    found = by_second.metrics(seed=0)
    accuracy, cosine = (
        [found[f"{name}_second_{n}.audiolm"].value for n in (1, 2, 3)]
        for name in ("accuracy", "cosine")
    )
    assert accuracy == [100, 100, 0]
    assert cosine == pytest.approx([1, 1, 0])


def test_the_floor_is_the_recording_of_another_speaker():
    by_second = VoiceBySecond(Ear())
    by_second.hear("original", voices(1, 1, 1), 2.0, "a")
    by_second.hear("original", voices(-1, -1), 1.0, "b")
    found = by_second.metrics(seed=0)
    assert found["cosine_second_1.original"].value == pytest.approx(1)
    assert found["cosine_second_1.stranger"].value == pytest.approx(0)
    assert found["cosine_second_1.stranger"].count == 2
    assert found["cosine_second_2.original"].count == 1
    assert "accuracy_second_1.stranger" not in found
    rows = table(found).rows
    assert [row[:2] for row in rows] == [
        ["Original, through the codec", "accuracy"],
        ["Original, through the codec", "cosine"],
        ["Original of another speaker (floor)", "cosine"],
    ]
