"""`AudioLM.stream`: a continuation as it is made (paper, section III-D, with stages in turns).

`AudioLM.continuation` lets each stage finish before the next one begins. Here they take turns: the
coarse stage makes a frame, and asks for semantic ids when it needs them; every few frames the
codec's decoder, which keeps its streaming state, makes a chunk of samples.

    semantic stage ──► SemanticIdsOnDemand ◄── asks ── coarse stage ──► (fine stage) ──► decoder

Each stage has a generator of its own, so that it draws the same whoever has the turn: the tokens
are those of `continuation`, the samples too, to within the tolerance of the codec's streams. What
is behind a stage's window is forgotten, so that an hour takes as much memory as half a minute; so
is how loud the prompt was, to which a slow gain leads back (`audiolm.audio.level`).
"""

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import torch

from audiolm.audio.level import LevelHolder
from audiolm.audio.origin import Origin
from audiolm.audio.waveform import Audio
from audiolm.codec.chunks import encode_in_chunks
from audiolm.codec.contract import Codec
from audiolm.device import torch_defaults
from audiolm.pipeline import Pipeline
from audiolm.safety.watermark import MarkStream, Payload
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Codes, SemanticIds, Waveform
from audiolm.stages import Streams

FIRST_FRAMES = 4
"""Frames of the first chunk that is made, 80 ms: little to wait for."""

LARGEST_FRAMES = 25
"""Frames of the largest chunk, half a second: chunks double until they are so long."""

FOREVER = 1e9
"""Seconds of a stream without end: 31 years. Nothing is made, or made room for, ahead of time."""


def stream(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    prompt: np.ndarray | None,
    seconds: float | None,
    *,
    baseline: str | None = None,
    continuation_only: bool = True,
    origin: Origin | None = None,
) -> Generator[Audio, None, None]:
    """The chunks of `AudioLM.stream`.

    Args:
        codec: encodes the prompt, and decodes what is made.
        tokenizer: makes the semantic ids of the prompt.
        run: the stages.
        prompt: (T,) at 16 kHz, whole semantic steps; None goes on from nothing.
        seconds: how much follows; None for no end.
        baseline: None, or "acoustic-only" for no semantic stage.
        continuation_only: leave the prompt out.
        origin: what the chunks say of where they come from; what follows the prompt is marked if
            it says so.

    Raises:
        ModelFolderError: at the call, the model lacks a stage that this takes.
    """
    run.require(*(("semantic", "coarse") if baseline is None else ("acoustic_only",)))
    device = next(codec.parameters()).device
    turns = _turns(codec, tokenizer, run, prompt, seconds, baseline is None)
    length = 0 if prompt is None else len(prompt)
    chunks = _one_by_one(turns, device)
    return _finished(chunks, length, length if continuation_only else 0, origin)


def _finished(
    chunks: Generator[Waveform, None, None], prompt: int, skip: int, origin: Origin | None
) -> Generator[Audio, None, None]:
    """Chunks (1, T) as recordings with their origin, as `AudioLM.continuation` finishes the whole:
    the level is held, `skip` samples are left out, and what follows the `prompt` is marked."""
    level = LevelHolder(prompt)
    marks = None
    if origin is not None and origin.marked:
        marks = MarkStream(Payload.of_model(origin.model, origin.fingerprint))
    unmarked = prompt - skip
    with closing(chunks):
        for chunk in chunks:
            samples = level.push(chunk[0].float().cpu().numpy())  # (T,)
            skipped = min(skip, len(samples))
            skip -= skipped
            samples = samples[skipped:]
            if marks is not None:
                before = min(unmarked, len(samples))
                unmarked -= before
                samples = np.concatenate([samples[:before], marks.push(samples[before:])])
            if len(samples):
                yield Audio(samples, SAMPLE_RATE, origin)
    if marks is not None and len(rest := marks.flush()):
        yield Audio(rest, SAMPLE_RATE, origin)


def _one_by_one(
    chunks: Generator[Waveform, None, None], device: torch.device
) -> Generator[Waveform, None, None]:
    """The chunks (1, T); between two of them all of PyTorch's state is the caller's."""
    try:
        while True:
            with torch.inference_mode(), torch_defaults(device):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk
    finally:
        chunks.close()


def _turns(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    prompt: np.ndarray | None,
    seconds: float | None,
    semantic: bool,
) -> Generator[Waveform, None, None]:
    """Prompt and continuation in chunks (1, T); `modes.continued` does it all at once."""
    device = next(codec.parameters()).device
    seconds = FOREVER if seconds is None else seconds
    ids = torch.empty(1, 0, dtype=torch.long, device=device)  # (1, S of the prompt)
    known = ids.new_empty(1, codec.levels, 0)  # (1, Q, F of the prompt)
    samples = max(1, round(seconds * SAMPLE_RATE))
    if prompt is not None:
        samples += len(prompt)
        waveform = torch.from_numpy(prompt)[None].to(device)
        known = encode_in_chunks(codec, waveform)
        ids = tokenizer.encode(waveform) if semantic else ids
    frames, steps = -(-samples // CODEC_HOP), -(-samples // SEMANTIC_HOP)
    if semantic:
        later = SemanticIdsOnDemand(run, ids, seconds, steps)
        made = run.coarse_stream(later, known, frames)
    else:
        made = run.acoustic_only_stream(known, frames)
    decoder = codec.decoder_stream()
    for codes in _grouped(_with_fine(run, made, known)):
        waveform = decoder.push(codes)[:, :samples]  # the last frame may be longer than asked
        samples -= waveform.shape[1]
        yield waveform
    yield decoder.flush()[:, :samples]


class SemanticIdsOnDemand:
    """The semantic ids of a prompt and of what follows, drawn when they are asked for.

    Args:
        run: has the semantic stage, which goes on from the prompt's ids.
        ids: (1, S) of the prompt, perhaps none.
        seconds: how much follows.
        steps: how many there will be after all, on the 25 Hz clock.
    """

    def __init__(self, run: Pipeline, ids: SemanticIds, seconds: float, steps: int) -> None:
        self._prompt, self._steps = ids.shape[1], steps
        self._new = steps - self._prompt
        # Fewer than there are steps where the stage says each id once: they are held in turn.
        self._draws = run.semantic_draws(seconds, self._new)
        self._pieces = run.decode_stream("semantic", Streams(ids), self._draws)
        self._drawn = 0
        self._ids, self._first = ids, 0  # those from step `first` on; the last one is held

    def __call__(self, start: int, stop: int) -> SemanticIds:
        """The ids (1, n) of steps `start` to `stop`, fewer at the end; no earlier are kept."""
        have = self._first + self._ids.shape[1]
        fresh = [self._at(step) for step in range(have, min(stop, self._steps))]
        self._ids = torch.cat([self._ids, *fresh], dim=1)[:, start - self._first :]
        self._first = start
        return self._ids[:, : stop - start]

    def _at(self, step: int) -> SemanticIds:
        """The id (1, 1) of a step after the prompt; steps come in order. As `stretch` does."""
        number = (step - self._prompt) * self._draws // self._new
        while self._drawn <= number:
            piece = next(self._pieces).semantic
            assert piece is not None
            self._held, self._drawn = piece, self._drawn + 1
        return self._held


def _with_fine(run: Pipeline, coarse: Iterator[Codes], known: Codes) -> Iterator[Codes]:
    """Coarse codes, some frames at a time, to all codes that are made; `known` is the prompt's.

    The fine stage fills a chunk, of its own length, when the coarse codes of it are there.
    """
    if not run.makes_fine:
        for codes in coarse:
            yield codes[:, : run.levels]
        return
    size = run.stages["fine"].config.context_frames
    waiting: list[Codes] = []
    for codes in coarse:
        waiting.append(codes)
        while sum(piece.shape[2] for piece in waiting) >= size:
            together = torch.cat(waiting, dim=2)
            yield run.fine(together[..., :size], known[..., :size])
            waiting, known = [together[..., size:]], known[..., size:]
    rest = torch.cat(waiting, dim=2)
    if rest.shape[2]:
        yield run.fine(rest, known)


def _grouped(pieces: Iterator[Codes]) -> Iterator[Codes]:
    """Pieces of a few frames put together: the first (the prompt) alone, the rest in chunks."""
    wanted = 0
    waiting: list[Codes] = []
    for codes in pieces:
        waiting.append(codes)
        if sum(piece.shape[2] for piece in waiting) >= wanted:
            yield torch.cat(waiting, dim=2)
            waiting, wanted = [], min(max(FIRST_FRAMES, 2 * wanted), LARGEST_FRAMES)
    if waiting:
        yield torch.cat(waiting, dim=2)
