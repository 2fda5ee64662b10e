"""The contract of stages: decoding in pieces, and room for kinds that fill masks anywhere."""

import pytest
import torch

from audiolm.errors import AudioLMError
from audiolm.stages import Layout, LogLikelihood, Sampling, Stage, StageLoss, Streams
from audiolm.stages.streams import MASK
from stages.tiny_stages import KINDS, random_streams, tiny


def arguments(kind, seed=0):
    """A prompt of two rows for a stage of this kind, and how it goes on."""
    streams = random_streams(2, 60)
    codes = {"semantic": None, "fine": streams.codes[:, :2]}.get(kind, streams.codes[:, :2, :20])
    given = Streams(None if kind == "fine" else streams.semantic, codes)
    steps = 0 if kind == "fine" else 40
    generator = torch.Generator().manual_seed(seed)
    return (given,), {"steps": steps, "sampling": Sampling(), "generator": generator}


def fine_codes(stage):
    (given,), settings = arguments("fine")
    return stage.generate(given, **settings).codes


def tokens(streams):
    return streams.codes if streams.semantic is None else streams.semantic


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_pieces_put_together_are_what_generate_returns(kind, conditioning):
    stage = tiny(kind, conditioning, context_seconds=0.4)
    (given,), settings = arguments(kind)
    whole = tokens(stage.generate(given, **settings))
    (given,), settings = arguments(kind)
    pieces = [tokens(piece) for piece in stage.decode_stream(given, **settings)]
    assert torch.equal(torch.cat(pieces, dim=-1), whole)
    lengths = [piece.shape[-1] for piece in pieces]
    # Id by id, and last which rows have ended; the prompt, then frame by frame; chunks.
    expected = {"semantic": [1] * 40 + [0], "fine": [60]}.get(kind, [20] + [1] * 40)
    assert lengths == expected


def test_the_fine_stage_gives_some_chunks_at_a_time(monkeypatch):
    monkeypatch.setattr("audiolm.stages.decoding.ROWS_AT_ONCE", 4)
    stage = tiny("fine", context_seconds=0.12)  # 6 frames
    (given,), settings = arguments("fine")
    pieces = [piece.codes.shape[2] for piece in stage.decode_stream(given, **settings)]
    assert pieces == [12] * 5  # two rows: two chunks of six frames at once


def test_a_chunk_of_the_fine_stage_draws_the_same_alone(monkeypatch):
    stage = tiny("fine", context_seconds=0.12)
    together = fine_codes(stage)
    (given,), settings = arguments("fine")
    chunks = [
        stage.generate(Streams(codes=codes), **settings).codes for codes in given.codes.split(6, 2)
    ]
    assert torch.equal(torch.cat(chunks, dim=2), together)
    monkeypatch.setattr("audiolm.stages.decoding.ROWS_AT_ONCE", 1)
    again = fine_codes(stage)
    assert torch.equal(again, together)


def test_a_prompts_fine_codes_change_no_draw_of_later_chunks():
    stage = tiny("fine", context_seconds=0.12)
    (given,), settings = arguments("fine")
    unknown = torch.full((2, 2, 60), MASK)
    known = torch.cat([given.codes, unknown], dim=1)
    known[:, 2:, :6] = 1  # the whole first chunk
    with_prompt = stage.generate(Streams(codes=known), **settings).codes
    (given,), settings = arguments("fine")
    rest = stage.generate(Streams(codes=given.codes[:, :, 6:]), **settings).codes
    assert torch.equal(with_prompt[:, :, 6:], rest)


def test_stages_that_take_turns_draw_the_same():
    kinds = ["semantic", "coarse", "acoustic_only"]
    stages = {kind: tiny(kind) for kind in kinds}
    alone = {}
    for seed, kind in enumerate(kinds):
        (given,), settings = arguments(kind, seed)
        alone[kind] = tokens(stages[kind].generate(given, **settings))
    streams = {}
    for seed, kind in enumerate(kinds):
        (given,), settings = arguments(kind, seed)
        streams[kind] = stages[kind].decode_stream(given, **settings)
    made = {kind: [] for kind in kinds}
    for _ in range(42):
        for kind, stream in streams.items():
            piece = next(stream, None)
            made[kind] += [] if piece is None else [tokens(piece)]
    for kind in kinds:
        assert torch.equal(torch.cat(made[kind], dim=-1), alone[kind])


@pytest.mark.parametrize("kind", ["semantic", "coarse", "fine", "acoustic_only"])
def test_between_two_pieces_everything_is_the_callers(kind):
    stage = tiny(kind).train()
    before = torch.random.get_rng_state()
    (given,), settings = arguments(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in stage.decode_stream(given, **settings):
            assert torch.is_grad_enabled() and torch.is_autocast_enabled("cpu") and stage.training
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("context_seconds", [0.4, 10.0])
@pytest.mark.parametrize(("kind", "conditioning"), [case for case in KINDS if case[0] == "coarse"])
def test_semantic_ids_may_come_later_and_are_asked_for_late(kind, conditioning, context_seconds):
    stage = tiny(kind, conditioning, context_seconds=context_seconds)
    (given,), settings = arguments(kind)
    at_once = stage.generate(given, **settings).codes
    asked = [(0, 0)]

    def later(start, stop):
        assert start >= asked[-1][0]
        asked.append((start, stop))
        return given.semantic[:, start:stop]

    (_,), settings = arguments(kind)
    made = []
    for piece in stage.decode_stream(Streams(codes=given.codes, later=later), **settings):
        made.append(piece.codes)
        frame = sum(codes.shape[2] for codes in made) - 1
        start, stop = asked[-1]
        if len(made) == 1:
            assert asked == [(0, 0)]  # the prompt comes before anything is needed
        elif conditioning == "aligned":
            assert stop == frame // 2 + 2  # one is shown ahead of time
        else:
            assert stop == min(start + round(25 * context_seconds), 30)
    assert torch.equal(torch.cat(made, dim=2), at_once)


def test_what_does_not_fit_is_refused_at_the_call_not_at_the_first_piece():
    _, settings = arguments("coarse")
    with pytest.raises(AudioLMError, match="frames need"):
        tiny("coarse").decode_stream(Streams(torch.tensor([[1, 2]])), **settings)


def test_masks_are_refused_by_a_stage_that_only_goes_on():
    codes = random_streams(1, 6, levels=2).codes
    codes[0, 0, 3] = MASK
    _, settings = arguments("acoustic_only")
    with pytest.raises(AudioLMError, match="holds masks where this stage fills none"):
        tiny("acoustic_only").generate(Streams(codes=codes), **settings)


def test_the_callers_defaults_change_neither_tokens_nor_likelihoods():
    stage = tiny("coarse", "aligned")
    streams = random_streams(2, 12)

    (given,), settings = arguments("coarse")
    plain = stage.generate(given, **settings).codes, stage.log_likelihood(streams).per_token
    (given,), settings = arguments("coarse")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
            codes = stage.generate(given, **settings).codes
            likelihood = stage.log_likelihood(streams).per_token
            assert torch.get_default_dtype() == torch.float64
            assert torch.empty(1).is_meta and torch.is_autocast_enabled("cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(codes, plain[0])
    assert torch.equal(likelihood, plain[1])


# ---- another kind of stage -----------------------------------------------------------------------


class Guess(Stage):
    """Fills masks anywhere, with one id: what a parallel stage does, without the network."""

    def __init__(self, config):
        super().__init__()
        self.config, self.layout = config, Layout(config.layout)

    def forward(self, streams) -> StageLoss:
        raise NotImplementedError

    def rows_by_id(self):
        yield from ()

    def log_likelihood(self, streams) -> LogLikelihood:
        raise NotImplementedError

    def decode_stream(self, given, *, steps, sampling, generator, until_end=False, progress=None):
        codes = torch.nn.functional.pad(given.codes, (0, steps), value=MASK)
        yield Streams(codes=torch.where(codes == MASK, 3, codes))


def test_a_stage_may_fill_a_gap_between_two_sides_that_stay():
    codes = random_streams(2, 9).codes
    gap = codes.clone()
    gap[:, :, 3:6] = MASK
    _, settings = arguments("fine")
    filled = (
        Guess(tiny("fine").config).generate(Streams(codes=gap), **settings | {"steps": 2}).codes
    )
    assert filled.shape == (2, 4, 11)
    assert torch.equal(filled[:, :, [0, 1, 2, 6, 7, 8]], codes[:, :, [0, 1, 2, 6, 7, 8]])
    assert (filled[:, :, [3, 4, 5, 9, 10]] == 3).all()


def test_a_contract_is_no_stage():
    with pytest.raises(TypeError, match="abstract"):
        Stage()
