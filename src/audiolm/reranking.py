"""Best of several draws, judged by the model's own parts: its tokenizer and its codec.

Sampling makes good and bad draws, and which are which can be heard by the parts that a model has
anyway: the tokenizer says whether the sound holds the semantic ids that it was made from, the codec
whether its sound is near that of the prompt. Never what the evaluation judges by: no recogniser, no
classifier of speakers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiolm.codec.contract import Codec
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import FRAMES_PER_STEP, Codes, SemanticIds, Waveform

VOICE_WEIGHT = 0.5
"""How much a distance of 1 from the prompt's sound weighs against a share 1 of the ids heard."""


def best_draws(scores: Float[Tensor, "BN"], draws: int) -> Int[Tensor, "B"]:
    """The row of the highest score among each `draws` rows that follow one another; the first of
    equal ones."""
    best = scores.view(-1, draws).argmax(1)  # (B,)
    return best + draws * torch.arange(len(best), device=scores.device)


def scores(
    codec: Codec,
    semantic: SemanticTokenizer,
    waveform: Waveform,
    ids: SemanticIds | None,
    codes: Codes,
    known: int,
) -> Float[Tensor, "B"]:
    """How good each of B draws is, higher is better; only draws of one prompt compare.

    Args:
        codec: whose `codes` these are.
        semantic: whose `ids` these are.
        waveform: (B, T) the sound of prompt and draw.
        ids: (B, S) that it was made from; None where it was made from none.
        codes: (B, q, F) of prompt and draw.
        known: how many of the frames are the prompt's; 0 for none.
    """
    total = torch.zeros(len(waveform), device=waveform.device)
    if ids is not None:
        total = total + heard_again(semantic, waveform, ids, -(-known // FRAMES_PER_STEP))
    if known:
        total = total - VOICE_WEIGHT * distance_from_prompt(codec, codes, known)
    return total


def heard_again(
    semantic: SemanticTokenizer, waveform: Waveform, ids: SemanticIds, known: int
) -> Float[Tensor, "B"]:
    """The share of `ids` (B, S), from step `known` on, that the tokenizer hears in (B, T)."""
    heard = semantic.encode(waveform)[:, : ids.shape[1]]  # (B, S)
    same = heard == ids[:, : heard.shape[1]]
    return same[:, known:].float().mean(1)


def distance_from_prompt(codec: Codec, codes: Codes, known: int) -> Float[Tensor, "B"]:
    """How far the mean sound of a draw is from its prompt's: in standard deviations of the prompt.

    Codec embeddings are averaged over time, which leaves voice and room, and compared direction by
    direction (root mean square over the D directions).
    """
    embedded = codec.embed(codes)  # (B, F, D)
    prompt, draw = embedded[:, :known], embedded[:, known:]
    spread = prompt.std(1, correction=0).clamp(min=1e-3)  # (B, D)
    return ((draw.mean(1) - prompt.mean(1)) / spread).square().mean(-1).sqrt()
