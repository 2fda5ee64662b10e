import pytest
import torch

from audiolm.errors import AudioLMError
from audiolm.stages import Sampling, Streams, remove_repeats
from audiolm.stages.layout import END
from audiolm.stages.streams import MASK
from stages.tiny_stages import KINDS, random_streams, tiny

GREEDY = Sampling(temperature=0.0)
SLIDING = [case for case in KINDS if case[0] in ("coarse", "acoustic_only")]


def generate(stage, prefix, steps=0, sampling=GREEDY, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return stage.generate(prefix, steps=steps, sampling=sampling, generator=generator, **more)


def likeliest_next(stage, streams):
    """The likeliest id at the first mask of one row, from the whole sequence, without a cache."""
    flat = stage.layout.flatten(streams)
    place = int((flat.ids[0] == MASK).nonzero()[0]) - 1
    kind = int(flat.kinds[0, place])
    hidden = stage.transformer(flat.ids[:, : place + 1], flat.aligned[:, : place + 1])[0, -1]
    logits = stage.transformer.heads[kind - stage.layout.kinds.start] @ hidden
    return flat.ids[0, place], logits


@torch.no_grad()
def plain_codes(stage, semantic, codes, steps, context):
    """`continue_codes` for one row, greedily, token by token, windows as documented."""
    start, prompt = 0, codes.shape[2]
    codes = torch.cat([codes, torch.full((1, codes.shape[1], steps), MASK)], 2)
    stop = min(context, codes.shape[2])
    for frame in range(prompt, codes.shape[2]):
        if frame - start >= context:
            start = frame - context // 2
            start += start % 2
            stop = start + context
        for level in range(codes.shape[1]):
            last = (min(stop, codes.shape[2]) + 1) // 2
            if stage.config.layout.conditioning == "aligned":
                last += 1  # the look-ahead of the tiny stages
            window = Streams(
                semantic[:, start // 2 : last], codes[..., start : min(stop, codes.shape[2])]
            )
            codes[0, level, frame] = likeliest_next(stage, window)[1].argmax()
    return codes


@pytest.mark.parametrize("prompt", [0, 3, 8, 17])
@pytest.mark.parametrize(("kind", "conditioning"), SLIDING)
def test_codes_equal_a_plain_loop_within_and_beyond_the_context(kind, conditioning, prompt):
    stage = tiny(kind, conditioning, context_seconds=0.16)  # 8 frames
    streams = random_streams(1, 26, levels=2)
    prefix = Streams(streams.semantic, streams.codes[..., :prompt])
    result = generate(stage, prefix, steps=9).codes
    expected = plain_codes(stage, streams.semantic[:, : (prompt + 10) // 2 + 1], prefix.codes, 9, 8)
    assert torch.equal(result, expected)
    assert torch.equal(result[..., :prompt], prefix.codes)


@pytest.mark.parametrize(("kind", "conditioning"), SLIDING)
def test_rows_of_a_batch_equal_rows_alone(kind, conditioning):
    stage = tiny(kind, conditioning, context_seconds=0.24)
    prefix = random_streams(3, 30, levels=2)
    prefix = Streams(prefix.semantic, prefix.codes[..., :5])
    together = generate(stage, prefix, steps=20).codes
    for row in range(3):
        one = Streams(prefix.semantic[row : row + 1], prefix.codes[row : row + 1])
        assert torch.equal(together[row], generate(stage, one, steps=20).codes[0])


@torch.no_grad()
@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("prompt", [0, 4, 30])
def test_semantic_ids_equal_a_plain_loop(remove, prompt):
    stage = tiny("semantic", context_seconds=0.4, remove_repeats=remove)  # 10 ids
    history = random_streams(1, 2 * prompt).semantic
    result = generate(stage, Streams(history), steps=25).semantic
    assert result.shape == (1, 25)
    if remove:
        history = remove_repeats(history)
    window = history if history.shape[1] < 10 else history[:, -5:]
    for step in range(25):
        if window.shape[1] == 10:
            window = window[:, -5:]
        mask = torch.full((1, 1), MASK)
        previous, logits = likeliest_next(stage, Streams(torch.cat([window, mask], 1)))
        logits[0] = -torch.inf  # END
        if remove and previous > END:
            logits[previous - END] = -torch.inf
        chosen = int(logits.argmax()) - 1
        assert chosen == int(result[0, step])
        window = torch.cat([window, torch.tensor([[chosen]])], 1)


def test_semantic_rows_whose_repeats_differ_equal_rows_alone():
    stage = tiny("semantic")
    prefix = torch.tensor([[1, 1, 1, 1, 1, 2], [1, 2, 3, 4, 5, 0], [3, 3, 2, 2, 2, 2]])
    together = generate(stage, Streams(prefix), steps=30).semantic
    for row in range(3):
        alone = generate(stage, Streams(prefix[row : row + 1]), steps=30).semantic
        assert torch.equal(together[row], alone[0])


def test_no_semantic_id_repeats_where_repeats_are_removed():
    stage = tiny("semantic", context_seconds=0.6)
    prefix = torch.tensor([[4, 4, 2], [1, 5, 5]])
    new = generate(stage, Streams(prefix), steps=200, sampling=Sampling()).semantic
    whole = torch.cat([prefix[:, -1:], new], 1)
    assert (whole[:, 1:] != whole[:, :-1]).all()
    assert new.min() >= 0 and new.max() < 6


def test_until_end_stops_when_all_rows_have_ended():
    stage = tiny("semantic", context_seconds=0.16)  # 4 ids: rows end in different windows
    prefix = Streams(torch.zeros(8, 1, dtype=torch.long))
    result = generate(stage, prefix, steps=400, sampling=Sampling(), until_end=True)
    lengths = (result.semantic >= 0).sum(1)
    assert result.ended.all() and lengths.max() == result.semantic.shape[1] < 400
    assert len(set(lengths.tolist())) > 2
    for row, length in enumerate(lengths.tolist()):
        assert (result.semantic[row, length:] == -1).all()
    cut = generate(stage, prefix, steps=5, sampling=Sampling(), until_end=True)
    assert torch.equal(cut.ended, lengths < 5)
    never = generate(stage, prefix, steps=50, sampling=Sampling())
    assert never.semantic.min() >= 0 and not never.ended.any()


@pytest.mark.parametrize("conditioning", ["prefix", "aligned", "both"])
def test_fine_chunks_stand_alone_and_known_codes_are_kept(conditioning):
    stage = tiny("fine", conditioning, context_seconds=0.12)  # 6 frames
    codes = random_streams(2, 20).codes
    known = codes.clone()
    known[:, 2:, 8:] = -1
    known[1, 3, :3] = -1
    result = generate(stage, Streams(codes=known)).codes
    assert result.shape == codes.shape and result.min() >= 0 and result.max() < 5
    assert torch.equal(result[known >= 0], known[known >= 0])
    for start in range(0, 20, 6):
        for row in range(2):
            chunk = known[row : row + 1, :, start : start + 6]
            alone = generate(stage, Streams(codes=chunk)).codes
            assert torch.equal(result[row, :, start : start + 6], alone[0])
    unknown = known.clone()
    unknown[:, 2:] = -1
    from_coarse = generate(stage, Streams(codes=codes[:, :2])).codes
    assert torch.equal(from_coarse, generate(stage, Streams(codes=unknown)).codes)
    assert torch.equal(from_coarse[:, :2], codes[:, :2])


@torch.no_grad()
@pytest.mark.parametrize("conditioning", ["prefix", "aligned", "both"])
def test_fine_codes_equal_a_plain_loop(conditioning):
    stage = tiny("fine", conditioning)
    codes = random_streams(1, 7).codes
    codes[:, 2:] = MASK
    codes[0, 3, 2] = 1  # known, among masks
    plain = codes.clone()
    for frame in range(7):
        for level in (2, 3):
            if plain[0, level, frame] == MASK:
                plain[0, level, frame] = likeliest_next(stage, Streams(codes=plain))[1].argmax()
    assert torch.equal(generate(stage, Streams(codes=codes.clamp(min=-1))).codes, plain)


def prefix_for(kind):
    streams = random_streams(2, 60)
    if kind == "fine":
        return Streams(codes=streams.codes[:, :2]), 0
    codes = None if kind == "semantic" else streams.codes[:, :2, :20]
    return Streams(streams.semantic, codes), 40


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_one_generator_gives_one_result(kind, conditioning):
    stage = tiny(kind, conditioning, context_seconds=0.4).train()
    prefix, steps = prefix_for(kind)
    state, counted = torch.random.get_rng_state(), []
    once, again, other = (
        generate(stage, prefix, steps, Sampling(), seed, progress=counted.append)
        for seed in (3, 3, 4)
    )
    for a, b, c in zip(*((s.semantic, s.codes) for s in (once, again, other)), strict=True):
        if a is not None:
            assert torch.equal(a, b) and not torch.equal(a, c)
            assert a.min() >= 0 and a.max() < (6 if kind == "semantic" else 5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert stage.training
    positions = {"semantic": 40, "coarse": 80, "acoustic_only": 80, "fine": 20 * 2}[kind]
    assert sum(counted) == 3 * positions


@pytest.mark.parametrize(("kind", "conditioning"), [c for c in KINDS if c[0] == "coarse"])
def test_prompt_and_semantic_ids_steer_the_codes(kind, conditioning):
    stage = tiny(kind, conditioning)
    prefix, steps = prefix_for(kind)
    before = generate(stage, prefix, steps).codes[..., 20:]
    semantic, codes = prefix.semantic.clone(), prefix.codes.clone()
    semantic[:, 15:] = (semantic[:, 15:] + 1) % 6
    codes[..., 18:] = (codes[..., 18:] + 1) % 5
    for changed in (Streams(semantic, prefix.codes), Streams(prefix.semantic, codes)):
        assert not torch.equal(before, generate(stage, changed, steps).codes[..., 20:])


def test_an_absent_prompt_is_an_empty_one():
    coarse, acoustic, semantic = tiny("coarse"), tiny("acoustic_only"), tiny("semantic")
    ids = random_streams(2, 8).semantic
    assert generate(coarse, Streams(ids), 8).codes.shape == (2, 2, 8)
    assert generate(acoustic, Streams(), 8).codes.shape == (1, 2, 8)
    assert generate(semantic, Streams(), 8).semantic.shape == (1, 8)


def test_autocast_around_changes_nothing_but_narrow_weights_do():
    stage = tiny("coarse", "aligned")
    prefix = random_streams(2, 200).semantic
    exact = generate(stage, Streams(prefix), 200, Sampling()).codes
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generate(stage, Streams(prefix), 200, Sampling()).codes, exact)
    stage.decoding_weights = torch.bfloat16
    rounded = generate(stage, Streams(prefix), 200, Sampling()).codes
    assert rounded.min() >= 0 and rounded.max() < 5
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize(
    ("kind", "prefix", "message"),
    [
        ("semantic", Streams(torch.tensor([[1, -1]])), "padded, or holds masks"),
        ("coarse", Streams(torch.tensor([[1, 2]])), "5 frames need 3 semantic ids, got 2"),
        ("acoustic_only", Streams(codes=torch.full((1, 2, 3), -1)), "padded, or holds masks"),
        ("acoustic_only", Streams(codes=torch.zeros(1, 1, 3).long()), "codes of 2 levels"),
        ("fine", Streams(codes=torch.zeros(1, 1, 3).long()), "codes of 2 levels"),
        ("semantic", Streams(torch.tensor([[6]])), "0 to 5"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(kind, prefix, message):
    with pytest.raises(AudioLMError, match=f"^{kind} stage: .*{message}"):
        generate(tiny(kind), prefix, 5)


@pytest.mark.parametrize("kind", ["semantic", "coarse", "fine", "acoustic_only"])
def test_damaged_weights_are_named(kind):
    stage = tiny(kind)
    with torch.no_grad():
        stage.transformer.norm.weight[0] = torch.nan
    prefix, steps = prefix_for(kind)
    with pytest.raises(AudioLMError, match=f"^{kind} stage: .*not finite"):
        generate(stage, prefix, steps)
