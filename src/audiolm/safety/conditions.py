"""What happens to sound in the world before somebody asks where it comes from.

One list, by name, of what the mark and the detector are measured under: codings, bands, noise,
rooms, levels, speeds, cuts. Each is a function of samples at 16 kHz and a generator: one generator
gives one result. Codings are those of libsndfile, at the sound's own sample rate.
"""

import io
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from audiolm.audio.augment import echo, reverberate
from audiolm.audio.resample import resample
from audiolm.codec.chunks import decode_in_chunks, encode_in_chunks
from audiolm.codec.contract import Codec
from audiolm.shapes import SAMPLE_RATE

Samples = NDArray[np.float32]
"""(T,) at 16 kHz."""

Condition = Callable[[Samples, np.random.Generator], Samples]
"""What happens to samples (T,); what comes out may be longer or shorter."""


def clean(samples: Samples, generator: np.random.Generator) -> Samples:
    """Nothing but a file of 16 bits."""
    return _rounded(samples)


def mp3(kilobits: float, samples: Samples, generator: np.random.Generator) -> Samples:
    """MP3 at a constant bitrate; 8 to 160 kbit/s at this sample rate."""
    level = (160 - kilobits) / 152
    return _coded(samples, "MP3", "MPEG_LAYER_III", level, bitrate_mode="CONSTANT")


def opus(kilobits: float, samples: Samples, generator: np.random.Generator) -> Samples:
    """Opus, 6 to 256 kbit/s; with little to say it takes less than asked."""
    return _coded(samples, "OGG", "OPUS", (256 - kilobits) / 250)


def vorbis(samples: Samples, generator: np.random.Generator) -> Samples:
    """Ogg Vorbis at a low quality."""
    return _coded(samples, "OGG", "VORBIS", 0.8)


def telephone(samples: Samples, generator: np.random.Generator) -> Samples:
    """A telephone line: 300 to 3400 Hz, 8 kHz, G.711 μ-law."""
    narrow = resample(samples, SAMPLE_RATE, 8000)  # (T / 2,)
    spectrum = np.fft.rfft(narrow)
    hertz = np.fft.rfftfreq(len(narrow), 1 / 8000)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    band = np.fft.irfft(spectrum, len(narrow)).astype(np.float32)
    line = _coded(band, "WAV", "ULAW", sample_rate=8000)
    return resample(line, 8000, SAMPLE_RATE)


def noise(ratio_db: float, samples: Samples, generator: np.random.Generator) -> Samples:
    """White noise, so many dB below the sound."""
    return _mixed(samples, generator.standard_normal(len(samples)), ratio_db)


def music(ratio_db: float, samples: Samples, generator: np.random.Generator) -> Samples:
    """Music behind it: every half second a struck chord of four notes, eight harmonics each."""
    seconds = np.arange(SAMPLE_RATE * 2) / SAMPLE_RATE
    piece = np.zeros(len(samples) + len(seconds))
    for start in range(0, len(samples), SAMPLE_RATE // 2):
        for semitones in generator.choice(36, 4, replace=False):
            pitch = 110 * 2 ** (semitones / 12)
            for harmonic in range(1, 9):
                fading = np.exp(-seconds * (2 + harmonic / 2)) / harmonic
                phase = generator.uniform(0, 2 * math.pi)
                tone = fading * np.sin(2 * math.pi * harmonic * pitch * seconds + phase)
                piece[start : start + len(seconds)] += tone
    return _mixed(samples, piece[: len(samples)], ratio_db)


def reverberation(samples: Samples, generator: np.random.Generator) -> Samples:
    """A room whose echo dies away in 0.4 s and is 3 dB weaker than the direct sound."""
    tail = torch.from_numpy(generator.standard_normal((1, SAMPLE_RATE * 2 // 5))).float()
    response = echo(tail, torch.tensor([0.4]), torch.tensor([3.0]))  # (1, R)
    return _rounded(reverberate(torch.from_numpy(samples)[None], response)[0].numpy())


def gain(db: float, samples: Samples, generator: np.random.Generator) -> Samples:
    """Another level; what is above full scale is clipped, as in any file."""
    return _rounded(samples * np.float32(10 ** (db / 20)))


def clipping(samples: Samples, generator: np.random.Generator) -> Samples:
    """Recorded 12 dB too loud: clipped at a quarter of its peak."""
    limit = float(np.abs(samples).max(initial=0.0)) / 4
    return _rounded(np.clip(samples, -limit, limit))


def speed(factor_percent: int, samples: Samples, generator: np.random.Generator) -> Samples:
    """Played at so many percent of its speed, as a tape: pitch and formants move too."""
    return resample(samples, factor_percent, 100)


def trimming(samples: Samples, generator: np.random.Generator) -> Samples:
    """Cut at both ends, at any sample, by up to half a second and a sixth of it each."""
    longest = min(SAMPLE_RATE // 2, len(samples) // 6)
    first, last = generator.integers(1, longest, size=2, endpoint=True) if longest else (0, 0)
    return _rounded(samples[first : len(samples) - last])


def resampling(samples: Samples, generator: np.random.Generator) -> Samples:
    """Kept at 11.025 kHz for a while: nothing is left above 5.5 kHz."""
    return _rounded(resample(resample(samples, SAMPLE_RATE, 11025), 11025, SAMPLE_RATE))


def through_codec(codec: Codec, levels: int | None = None) -> Condition:
    """Encoded and decoded by a codec of this package, with its first `levels` levels."""

    def recoded(samples: Samples, generator: np.random.Generator) -> Samples:
        device = next(codec.parameters()).device
        with torch.inference_mode():
            waveform = torch.from_numpy(samples)[None].to(device)  # (1, T)
            decoded = decode_in_chunks(codec, encode_in_chunks(codec, waveform, levels))
        return _rounded(decoded[0, : len(samples)].float().cpu().numpy())

    return recoded


CONDITIONS: Mapping[str, Condition] = {
    "clean": clean,
    "MP3 128 kbit/s": partial(mp3, 128),
    "MP3 64 kbit/s": partial(mp3, 64),
    "Opus 32 kbit/s": partial(opus, 32),
    "Opus 16 kbit/s": partial(opus, 16),
    "Opus 6 kbit/s": partial(opus, 6),
    "Vorbis": vorbis,
    "telephone": telephone,
    "noise 20 dB": partial(noise, 20),
    "noise 10 dB": partial(noise, 10),
    "music 10 dB": partial(music, 10),
    "reverberation": reverberation,
    "gain -12 dB": partial(gain, -12),
    "gain +12 dB": partial(gain, 12),
    "clipping": clipping,
    "speed 95 %": partial(speed, 95),
    "speed 105 %": partial(speed, 105),
    "trimming": trimming,
    "resampling": resampling,
}
"""Every condition that needs no model, by the name that tables print."""


def applied(name: str, samples: Samples, seed: int, condition: Condition | None = None) -> Samples:
    """Samples under a condition of the list (or another one), drawn by a seed and its name."""
    generator = np.random.default_rng([seed, *name.encode()])
    return (condition or CONDITIONS[name])(samples, generator)


def _coded(
    samples: Samples,
    container: str,
    subtype: str,
    level: float | None = None,
    bitrate_mode: str | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> Samples:
    """Written in a coding and read back, as long as before; `level` 0 is the best, 1 the worst."""
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(samples, -1, 1),
        sample_rate,
        format=container,
        subtype=subtype,
        compression_level=level,
        bitrate_mode=bitrate_mode,
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")  # (T',)
    as_long = np.zeros(len(samples), dtype=np.float32)
    as_long[: len(decoded)] = decoded[: len(samples)]
    return as_long


def _mixed(samples: Samples, other: NDArray[np.float64], ratio_db: float) -> Samples:
    """The sound with another one, so many dB weaker, behind it."""
    strength = math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))
    other_strength = max(math.sqrt(float(np.mean(other**2))), 1e-12)
    factor = strength / other_strength * 10 ** (-ratio_db / 20)
    return _rounded((samples + factor * other).astype(np.float32))


def _rounded(samples: Samples) -> Samples:
    """As a file of 16 bits holds them."""
    whole = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767)
    rounded: Samples = (whole / np.float32(32768)).astype(np.float32)
    return rounded
