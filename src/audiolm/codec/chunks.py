"""Long recordings through a codec in chunks: as much memory for an hour as for ten seconds.

What comes out equals what the codec makes of everything at once: codes but for float ties,
samples to within 1e-4 (the tolerance of a codec's streams, `Codec.encoder_stream` and
`Codec.decoder_stream`). Where a chunk needs later samples (`codec.look_ahead`), its last frames
come with the next one.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from audiolm.arguments import checked_levels
from audiolm.codec.contract import Codec
from audiolm.device import torch_defaults
from audiolm.errors import AudioError
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, Codes, Waveform

CHUNK_SAMPLES = 10 * SAMPLE_RATE
"""Samples that go through the codec at once; bounds the memory that a recording takes."""

CHUNK_FRAMES = CHUNK_SAMPLES // CODEC_HOP


def reconstruct_chunks(
    codec: Codec, chunks: Iterable[np.ndarray | Tensor], levels: int | None = None
) -> Iterator[np.ndarray]:
    """What the codec makes of a recording that comes in chunks.

    Args:
        codec: in evaluation mode; computes on its own device.
        chunks: samples (T,) at 16 kHz in [-1, 1], any lengths, one recording after all.
        levels: how many of the codec's levels are used; all when None.

    Returns:
        float32 chunks (T',) whose concatenation is exactly as long as the input. Nothing is read
        from `chunks`, and nothing computed, before it is asked for.

    Raises:
        ConfigurationError: the codec has not that many levels.
        AudioError: while iterating: a chunk is not (T,) numbers, or is not finite.
    """
    q = codec.levels if levels is None else checked_levels(levels, codec.levels)
    return _reconstructed(codec, chunks, q)


def _reconstructed(
    codec: Codec, chunks: Iterable[np.ndarray | Tensor], levels: int
) -> Iterator[np.ndarray]:
    device = next(codec.parameters()).device
    encoder, decoder = codec.encoder_stream(), codec.decoder_stream()
    samples_left = 0  # given, but not yet returned

    def made(codes: Codes) -> np.ndarray:
        return decoder.push(codes[:, :levels])[0].float().cpu().numpy()

    for chunk in chunks:
        for piece in _waveform(chunk).split(CHUNK_SAMPLES, dim=1):  # each (1, T)
            with torch.inference_mode(), torch_defaults(device):
                samples = made(encoder.push(piece.to(device)))
            samples_left += piece.shape[1] - len(samples)
            if len(samples):
                yield samples
    with torch.inference_mode(), torch_defaults(device):
        codes = encoder.flush()
        rest = np.concatenate([made(codes), decoder.flush()[0].float().cpu().numpy()])
    if samples_left:
        yield rest[:samples_left]  # the last frame was padded with silence


def encode_in_chunks(codec: Codec, waveform: Waveform, levels: int | None = None) -> Codes:
    """`codec.encode` of a waveform (B, T) of any length, at bounded memory: codes (B, q, F).

    Raises:
        ConfigurationError: the codec has not that many levels.
    """
    if waveform.shape[1] <= CHUNK_SAMPLES:
        return codec.encode(waveform, levels)
    q = codec.levels if levels is None else checked_levels(levels, codec.levels)
    stream = codec.encoder_stream()
    pieces = [stream.push(chunk)[:, :q] for chunk in waveform.split(CHUNK_SAMPLES, dim=1)]
    return torch.cat([*pieces, stream.flush()[:, :q]], dim=2)


def decode_in_chunks(codec: Codec, codes: Codes) -> Waveform:
    """`codec.decode` of codes (B, q, F), F of any size, at bounded memory: samples (B, F * 320)."""
    if codes.shape[2] <= CHUNK_FRAMES:
        return codec.decode(codes)
    stream = codec.decoder_stream()
    waveform = torch.empty(len(codes), codes.shape[2] * codec.hop, device=codes.device)
    at = 0
    for chunk in codes.split(CHUNK_FRAMES, dim=2):
        samples = stream.push(chunk)  # (B, T)
        waveform[:, at : at + samples.shape[1]] = samples
        at += samples.shape[1]
    waveform[:, at:] = stream.flush()
    return waveform


def _waveform(chunk: object) -> Waveform:
    """One chunk as (1, T) float32 on the CPU, a copy (arrays may be read-only)."""
    given = chunk.detach().cpu().float().numpy() if isinstance(chunk, Tensor) else np.asarray(chunk)
    if given.ndim != 1 or given.dtype.kind not in "fiu":
        raise AudioError(
            f"chunks: need numbers of shape (T,), got {given.dtype} of {given.shape}; "
            "mix the channels down and pass one recording at a time"
        )
    samples = given.astype(np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("chunks: there are NaN or infinite values; replace them first")
    return torch.from_numpy(samples)[None]
