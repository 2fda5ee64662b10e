import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.errors import AudioLMError, ConfigurationError
from audiolm.stages.layout import END, START, Layout, LayoutConfig
from audiolm.stages.streams import MASK, PAD, Streams, remove_repeats, stretch
from reference import layouts as reference

SIZES = {"clusters": 5, "codebook_size": 4, "coarse_levels": 2, "levels": 5}


@st.composite
def cases(draw, kinds=("semantic", "coarse", "fine", "acoustic_only")):
    """A layout and a batch of rows of different lengths: semantic lists, codes[level][frame]."""
    kind = draw(st.sampled_from(kinds))
    conditioning = draw(st.sampled_from(["prefix", "aligned", "both"]))
    config = LayoutConfig(
        kind=kind,
        **SIZES,
        conditioning=conditioning,
        look_ahead=0 if conditioning == "prefix" else draw(st.integers(0, 2)),
        remove_repeats=draw(st.booleans()) and (kind != "coarse" or conditioning == "prefix"),
    )
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        frames = draw(st.integers(1, 7))
        steps = (frames + 1) // 2
        ids = st.integers(0, 4)
        semantic = draw(st.lists(ids, min_size=steps, max_size=steps))
        level = st.lists(st.integers(0, 3), min_size=frames, max_size=frames)
        codes = draw(st.lists(level, min_size=5, max_size=5))
        rows.append((semantic, codes, draw(st.booleans())))
    return config, rows


def padded(rows):
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def streams_of(rows):
    semantic = padded([semantic for semantic, _, _ in rows])
    levels = [padded([codes[q] for _, codes, _ in rows]) for q in range(5)]
    return Streams(semantic, torch.stack(levels, 1), torch.tensor([ended for *_, ended in rows]))


def expected(config, row):
    semantic, codes, ended = row
    return reference.tokens(
        config.kind,
        semantic,
        codes,
        clusters=5,
        codebook_size=4,
        coarse=2,
        levels=5,
        remove_repeats=config.remove_repeats,
        conditioning=config.conditioning,
        look_ahead=config.look_ahead,
        ended=ended,
    )


@settings(deadline=None, max_examples=150)
@given(cases())
def test_flatten_writes_what_the_definition_says(case):
    config, rows = case
    layout = Layout(config)
    flat = layout.flatten(streams_of(rows))
    assert flat.ids.shape[1] == max(len(expected(config, row)) for row in rows)
    assert flat.aligned.shape[2] == layout.aligned_slots
    for b, row in enumerate(rows):
        tokens = expected(config, row)
        length = len(tokens)
        assert flat.ids[b, :length].tolist() == [token[0] for token in tokens]
        assert (flat.ids[b, length:] == PAD).all()
        assert flat.targets[b, : length - 1].tolist() == [token[0] for token in tokens[1:]]
        assert (flat.targets[b, length - 1 :] == PAD).all()
        assert flat.kinds[b, : length - 1].tolist() == [token[1] for token in tokens[1:]]
        assert (flat.kinds[b, length - 1 :] == -1).all()
        assert flat.aligned[b, : length - 1].tolist() == [token[2] for token in tokens[1:]]
        assert (flat.aligned[b, length - 1 :] == PAD).all()
    assert torch.equal(flat.predicted, flat.kinds >= 0)


@settings(deadline=None, max_examples=150)
@given(cases())
def test_unflatten_gives_the_streams_back(case):
    config, rows = case
    layout, streams = Layout(config), streams_of(rows)
    back = layout.unflatten(layout.flatten(streams).ids)
    if config.kind == "semantic" or (config.kind == "coarse" and layout.has_prefix):
        merged = remove_repeats(streams.semantic) if config.remove_repeats else streams.semantic
        assert torch.equal(back.semantic, merged)
    else:
        assert back.semantic is None
    if config.kind == "semantic":
        assert torch.equal(back.ended, streams.ended) and back.codes is None
    elif config.kind == "fine":
        assert torch.equal(back.codes[:, 2:], streams.codes[:, 2:])
        coarse = streams.codes[:, :2]
        assert torch.equal(
            back.codes[:, :2], coarse if layout.has_prefix else torch.full_like(coarse, PAD)
        )
    else:
        assert torch.equal(back.codes, streams.codes[:, :2])


@settings(deadline=None)
@given(cases())
def test_every_target_is_allowed_at_its_position(case):
    config, rows = case
    layout = Layout(config)
    flat = layout.flatten(streams_of(rows))
    for target, kind in zip(flat.targets.flatten(), flat.kinds.flatten(), strict=True):
        if kind >= 0:
            assert int(target) in layout.allowed(int(kind), end=True)
            assert (int(target) in layout.allowed(int(kind))) == (int(target) != END)


@pytest.mark.parametrize(
    ("kind", "semantic_ids", "levels"),
    [("semantic", 5, 0), ("coarse", 5, 2), ("fine", 0, 5), ("acoustic_only", 0, 2)],
)
def test_kinds_share_no_id_and_fill_the_vocabulary(kind, semantic_ids, levels):
    layout = Layout(LayoutConfig(kind=kind, **SIZES))
    every = [START, END, *range(2, 2 + semantic_ids)]
    for level in range(1, levels + 1):
        every += range(layout.first_id(level), layout.first_id(level) + 4)
    assert every == list(range(layout.vocabulary))


def test_an_incomplete_frame_is_left_out():
    layout = Layout(LayoutConfig(kind="acoustic_only", **SIZES))
    flat = layout.flatten(Streams(codes=torch.tensor([[[1, 2, 3], [0, 1, 2]]])))
    assert layout.unflatten(flat.ids[:, :-1]).codes.tolist() == [[[1, 2], [0, 1]]]
    assert layout.unflatten(flat.ids[:, :2]).codes.shape == (1, 2, 0)


def test_blanks_are_tokens_but_no_ids():
    layout = Layout(LayoutConfig(kind="semantic", **SIZES))
    flat = layout.flatten(Streams(torch.tensor([[3, 3, MASK, MASK], [1, 2, MASK, MASK]])))
    assert flat.ids.tolist() == [
        [START, 5, MASK, MASK, PAD],
        [START, 3, 4, MASK, MASK],
    ]
    assert flat.kinds.tolist() == [[0, 0, 0, -1, -1], [0, 0, 0, 0, -1]]
    assert layout.unflatten(flat.ids).semantic.tolist() == [[3, PAD], [1, 2]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_tokens_from_counts_what_a_window_flattens_to(ids):
    semantic = torch.tensor([ids])
    for remove in (True, False):
        layout = Layout(LayoutConfig(kind="semantic", **SIZES, remove_repeats=remove))
        lengths = [
            layout.flatten(Streams(semantic[:, i:])).ids.shape[1] - 1 for i in range(len(ids))
        ]
        assert layout.tokens_from(semantic).tolist() == [lengths]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=10), st.integers(0, 30))
def test_stretch_holds_every_id_evenly_and_remove_repeats_undoes_it(ids, extra):
    merged = remove_repeats(torch.tensor([ids], dtype=torch.long))
    count = merged.shape[1]
    if not count:
        return
    long = stretch(merged[0], count + extra)
    runs = torch.unique_consecutive(long, return_counts=True)[1]
    assert len(long) == count + extra
    assert runs.max() - runs.min() <= 1
    assert torch.equal(remove_repeats(long[None]), merged)


def test_stretch_refuses_what_does_not_fit():
    with pytest.raises(AudioLMError, match="3 semantic ids to 2 steps"):
        stretch(torch.tensor([1, 2, 3]), 2)
    with pytest.raises(AudioLMError):
        stretch(torch.zeros(0, dtype=torch.long), 2)
    assert len(stretch(torch.zeros(0, dtype=torch.long), 0)) == 0


@pytest.mark.parametrize(
    ("settings_", "key"),
    [
        ({"kind": "coarse", "conditioning": "aligned"}, "remove_repeats"),
        ({"kind": "coarse", "conditioning": "both"}, "remove_repeats"),
        ({"kind": "fine", "levels": 4}, "levels"),
        ({"kind": "coarse", "levels": 3}, "levels"),
        ({"kind": "coarse", "look_ahead": 1}, "look_ahead"),
    ],
)
def test_layouts_that_cannot_be_are_refused_by_key(settings_, key):
    with pytest.raises(ConfigurationError, match=f"^layout.{key}: "):
        LayoutConfig(**settings_)


@pytest.mark.parametrize(
    ("kind", "streams"),
    [
        ("semantic", Streams()),
        ("coarse", Streams(codes=torch.zeros(1, 2, 4, dtype=torch.long))),
        ("coarse", Streams(torch.zeros(1, 2, dtype=torch.long))),
        ("fine", Streams(codes=torch.zeros(1, 4, 4, dtype=torch.long))),
        ("semantic", Streams(torch.tensor([[5]]))),
        ("acoustic_only", Streams(codes=torch.full((1, 2, 1), 4))),
        ("acoustic_only", Streams(codes=torch.full((1, 2, 1), -3))),
    ],
)
def test_streams_that_do_not_fit_are_refused(kind, streams):
    with pytest.raises(AudioLMError, match=f"^{kind} stage: "):
        Layout(LayoutConfig(kind=kind, **SIZES)).flatten(streams)


@st.composite
def two_sided_cases(draw):
    """A layout that fills the middle, and rows of near side, far side, end; a side may be empty."""
    config = LayoutConfig(
        kind="semantic", **SIZES, remove_repeats=draw(st.booleans()), fill_in_the_middle=True
    )
    ids = st.lists(st.integers(0, 4), max_size=9)
    rows = draw(st.lists(st.tuples(ids, ids, st.booleans()), min_size=1, max_size=3))
    return config, [(near * draw(st.sampled_from([1, 1, 9])), far, end) for near, far, end in rows]


def two_sided(rows):
    near, far = (padded([row[side] for row in rows]).long() for side in (0, 1))
    return Streams(near, ended=torch.tensor([end for *_, end in rows]), far=far)


@settings(deadline=None, max_examples=150)
@given(two_sided_cases())
def test_two_sides_are_written_far_side_first_and_read_back(case):
    config, rows = case
    layout, streams = Layout(config), two_sided(rows)
    assert (layout.vocabulary, layout.separator) == (2 + 5 + 1, 7)
    flat = layout.flatten(streams)
    for b, (near, far, ended) in enumerate(rows):
        tokens = reference.two_sides(near, far, 5, config.remove_repeats, ended)
        length = len(tokens)
        assert flat.ids[b, :length].tolist() == [token[0] for token in tokens]
        assert (flat.ids[b, length:] == PAD).all()
        assert flat.kinds[b, : length - 1].tolist() == [token[1] for token in tokens[1:]]
        assert flat.aligned[b, : length - 1].tolist() == [token[2] for token in tokens[1:]]
        assert (flat.aligned[b, length - 1 :] == PAD).all()
    assert not (flat.targets[flat.predicted] == layout.separator).any()
    back = layout.unflatten(flat.ids)
    merged = remove_repeats if config.remove_repeats else lambda ids: ids
    assert torch.equal(back.semantic, merged(streams.semantic))
    if any(far for _, far, _ in rows):
        assert torch.equal(back.far, merged(streams.far))
    else:
        assert back.far is None
    assert torch.equal(back.ended, streams.ended)


def test_a_far_side_needs_a_layout_that_fills_the_middle():
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(AudioLMError, match=r"far side is given.*fill_in_the_middle"):
        Layout(LayoutConfig(kind="semantic", **SIZES)).flatten(Streams(ids, far=ids))
    fills = Layout(LayoutConfig(kind="semantic", **SIZES, fill_in_the_middle=True))
    with pytest.raises(AudioLMError, match="far side lie between 5 and 5"):
        fills.flatten(Streams(ids, far=ids + 5))
    with pytest.raises(ConfigurationError, match=r"^layout\.fill_in_the_middle: .* is coarse"):
        LayoutConfig(kind="coarse", **SIZES, fill_in_the_middle=True)


def test_false_is_null_so_that_fingerprints_stay():
    plain = LayoutConfig(kind="semantic", **SIZES)
    assert LayoutConfig(kind="semantic", **SIZES, fill_in_the_middle=False) == plain
