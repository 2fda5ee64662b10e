"""What each mode makes, from waveform to waveform: the steps of the paper (section III-D).

    continuation          prompt    ─► ids, codes ─► semantic ─► coarse ─► fine ─► decoder
      its baseline        prompt    ─► codes ──────► acoustic_only ──────► fine ─► decoder
    acoustic generation   recording ─► ids ────────────────────► coarse ─► fine ─► decoder
    unconditional         nothing ───────────────► semantic ─► coarse ─► fine ─► decoder

Where several draws are asked for, they are made as one batch, and the one is kept that the model's
own parts judge best (`audiolm.reranking`). What was made is marked here as well.
"""

import numpy as np
import torch

from audiolm.audio.level import LevelHolder
from audiolm.audio.origin import Origin
from audiolm.audio.waveform import Audio
from audiolm.codec.chunks import decode_in_chunks, encode_in_chunks
from audiolm.codec.contract import Codec
from audiolm.pipeline import Pipeline
from audiolm.reranking import best_draws, scores
from audiolm.safety import watermark
from audiolm.safety.watermark import Payload
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Codes, SemanticIds, Waveform


def continued(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    prompt: Waveform,
    seconds: float,
    *,
    baseline: str | None = None,
    best_of: int = 1,
) -> Waveform:
    """Prompts (B, T) of whole semantic steps to waveforms of prompt and continuation.

    Args:
        codec, tokenizer, run: the parts, and the stages with how they are sampled.
        prompt: at 16 kHz.
        seconds: how much follows.
        baseline: None, or "acoustic-only" for no semantic stage (section III-B).
        best_of: how many are drawn of each prompt.
    """
    samples = prompt.shape[1] + _samples(seconds)
    frames, steps = -(-samples // CODEC_HOP), -(-samples // SEMANTIC_HOP)
    # Below, B counts the draws: `best_of` rows for each prompt.
    known = encode_in_chunks(codec, prompt)  # (B, Q, F of the prompt)
    known = known.repeat_interleave(best_of, dim=0)
    ids = None
    if baseline is None:
        ids = tokenizer.encode(prompt).repeat_interleave(best_of, dim=0)  # (B, S of the prompt)
        ids = run.semantic(ids, seconds, steps)  # (B, S)
        codes = run.coarse(ids, known, frames)  # (B, Q', F)
    else:
        codes = run.acoustic_only(known, frames)  # (B, Q', F)
    waveform = _heard(codec, tokenizer, run, ids, codes, known, samples, best_of)
    return _held(waveform, prompt.shape[1])


def said_in_any_voice(
    codec: Codec, tokenizer: SemanticTokenizer, run: Pipeline, recording: Waveform, best_of: int = 1
) -> Waveform:
    """Acoustic generation: a recording (1, T) to one that says the same, as long."""
    ids = tokenizer.encode(recording)  # (1, S)
    return _voiced(codec, tokenizer, run, ids, recording.shape[1], best_of)


def from_nothing(
    codec: Codec, tokenizer: SemanticTokenizer, run: Pipeline, seconds: float, best_of: int = 1
) -> Waveform:
    """Unconditional generation: a waveform (1, T) of so many seconds."""
    samples = _samples(seconds)
    device = next(codec.parameters()).device
    ids = torch.empty(1, 0, dtype=torch.long, device=device)  # (1, S = 0)
    ids = run.semantic(ids, seconds, -(-samples // SEMANTIC_HOP))  # (1, S)
    return _held(_voiced(codec, tokenizer, run, ids, samples, best_of), 0)


def _voiced(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    ids: SemanticIds,
    samples: int,
    best_of: int,
) -> Waveform:
    """Stages 2 and 3 without a prompt: ids (1, S) to a waveform (1, samples)."""
    ids = ids.repeat(best_of, 1)  # (B, S)
    none = ids.new_empty(best_of, codec.levels, 0)
    codes = run.coarse(ids, none, -(-samples // CODEC_HOP))  # (B, Q', F)
    return _heard(codec, tokenizer, run, ids, codes, none, samples, best_of)


def _heard(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    ids: SemanticIds | None,
    codes: Codes,
    known: Codes,
    samples: int,
    best_of: int,
) -> Waveform:
    """Coarse codes (B, Q', F) to the sound of the best draws (B / best_of, samples)."""
    codes = run.fine(codes, known)  # (B, Q, F)
    waveform = decode_in_chunks(codec, codes)[:, :samples]  # (B, T)
    if best_of == 1:
        return waveform
    judged = scores(codec, tokenizer, waveform, ids, codes, known.shape[2])
    return waveform[best_draws(judged, best_of)]


def _held(waveform: Waveform, prompt: int) -> Waveform:
    """Waveforms (B, T) whose level stays near that of the first `prompt` samples; what is no longer
    than usual comes as it is (`audiolm.audio.level`)."""
    rows = [LevelHolder(prompt).push(row) for row in waveform.float().cpu().numpy()]
    return torch.from_numpy(np.stack(rows)).to(waveform.device)


def marked(waveform: Waveform, origin: Origin, prompt: int = 0, skip: int = 0) -> list[Audio]:
    """Waveforms (B, T) as recordings that say their origin, without `skip` samples; where the
    origin says so, what follows the first `prompt` samples is marked."""
    rows: list[np.ndarray] = list(waveform.float().cpu().numpy())  # each (T,)
    if origin.marked:
        payload = Payload.of_model(origin.model, origin.fingerprint)
        after = [watermark.mark(row[prompt:], payload) for row in rows]
        rows = [np.concatenate([a[:prompt], b]) for a, b in zip(rows, after, strict=True)]
    return [Audio(row[skip:], SAMPLE_RATE, origin) for row in rows]


def _samples(seconds: float) -> int:
    return max(1, round(seconds * SAMPLE_RATE))
