"""The parallel stage: what is known stays, what is masked is filled as a plain loop would."""

import math

import pytest
import torch
import torch.nn.functional as F

from audiolm.errors import AudioLMError, ConfigurationError
from audiolm.stages import ParallelStage, Sampling, Streams, masked_decoding
from audiolm.stages.masked_decoding import quick_products
from audiolm.stages.masking import draw_masks
from audiolm.stages.streams import MASK, PAD
from reference import masked_decoding as reference
from stages.tiny_stages import CLUSTERS, CODEBOOK, random_streams, tiny_parallel

GREEDY = Sampling(temperature=0.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def decode(stage, streams, steps=0, sampling=GREEDY, seed=0, **more):
    return stage.generate(
        streams, steps=steps, sampling=sampling, generator=generator(seed), **more
    ).codes


def gaps(rows=2, frames=24, levels=2, share=0.6, seed=0):
    """Streams with masks anywhere, and the codes without them."""
    streams = random_streams(rows, frames, seed=seed, levels=levels)
    hidden = torch.rand(streams.codes.shape, generator=generator(seed + 1)) < share
    return Streams(streams.semantic, streams.codes.masked_fill(hidden, MASK)), streams.codes


def plain_predict(stage, semantic):
    """`predict` of the oracle, for one row."""

    def predict(codes, level):
        with torch.no_grad():
            hidden = stage.transformer(torch.tensor([codes]), semantic)
            return stage.transformer.logits(hidden, level)[0].log_softmax(-1).tolist()

    return predict


# ---- decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [(1, 1), (4, 1), (16, 3), (3, 8)])
def test_greedy_decoding_is_that_of_a_plain_loop(passes):
    stage = tiny_parallel(passes=passes)
    streams, _ = gaps(rows=3)
    found = decode(stage, streams)
    for row in range(3):
        predict = plain_predict(stage, streams.semantic[row : row + 1])
        expected = reference.fill_greedily(predict, streams.codes[row].tolist(), passes)
        assert found[row].tolist() == expected


def test_the_number_of_passes_matters_and_is_chosen_at_the_call():
    stage = tiny_parallel(passes=(8, 1))
    streams, _ = gaps(share=1.0, frames=40)
    found = decode(stage.with_passes((1, 1)), streams)
    assert torch.equal(found, decode(tiny_parallel(passes=(1, 1)), streams))
    assert not torch.equal(found, decode(stage, streams))
    assert stage.passes == (8, 1)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.3, top_k=3)])
def test_known_codes_stay_and_masks_are_filled(sampling):
    streams, codes = gaps()
    found = decode(tiny_parallel(), streams, steps=0, sampling=sampling)
    known = streams.codes != MASK
    assert torch.equal(found[known], codes[known])
    assert int(found.min()) >= 0 and int(found.max()) < CODEBOOK
    assert not torch.equal(found, codes)


def test_what_is_known_on_either_side_and_at_any_level_is_heard():
    stage = tiny_parallel()
    codes = random_streams(1, 24, levels=2).codes
    semantic = random_streams(1, 24).semantic
    gap = codes.clone()
    gap[:, :, 10:14] = MASK
    found = decode(stage, Streams(semantic, gap))
    assert torch.equal(found[..., :10], codes[..., :10])
    assert torch.equal(found[..., 14:], codes[..., 14:])
    with torch.no_grad():
        before = stage.transformer(gap, semantic)[0, 10:14]
        for level in (0, 1):
            for frame in (2, 20):
                told = gap.clone()
                told[0, level, frame] = (told[0, level, frame] + 1) % CODEBOOK
                change = stage.transformer(told, semantic)[0, 10:14] - before
                assert (change.abs().amax(-1) > 1e-4).all()


def test_frames_after_what_is_given_and_levels_that_are_left_out_are_filled():
    stage = tiny_parallel()
    streams = random_streams(2, 30, levels=2)
    masks = F.pad(streams.codes[:, :, :20], (0, 10), value=MASK)
    expected = decode(stage, Streams(streams.semantic, masks))
    given = Streams(streams.semantic, streams.codes[:, :, :20])
    assert torch.equal(decode(stage, given, steps=10), expected)
    masks[:, 1] = MASK
    masks[:, 0] = streams.codes[:, 0]
    one_level = Streams(streams.semantic, streams.codes[:, :1])
    found = decode(stage, one_level)
    assert torch.equal(found, decode(stage, Streams(streams.semantic, masks)))
    assert torch.equal(found[:, :1], streams.codes[:, :1])
    whole = decode(stage, Streams(streams.semantic), steps=30)
    assert whole.shape == (2, 2, 30)


def test_one_seed_gives_one_result_and_another_another():
    stage, (streams, _) = tiny_parallel(), gaps()
    before = torch.random.get_rng_state()
    sampling = Sampling(temperature=1.0)
    one, same, other = (decode(stage, streams, sampling=sampling, seed=s) for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    greedy = [decode(stage, streams, seed=seed) for seed in (0, 1)]
    assert torch.equal(*greedy)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_order_of_the_masks_is_drawn_by_the_noise_alone():
    streams, _ = gaps(share=1.0, frames=40)
    sampling = Sampling(temperature=1.0, top_k=1)  # ids are the likeliest; only the order is drawn
    quiet, noisy = (tiny_parallel(passes=(6, 1), noise=noise) for noise in (0.0, 5.0))
    same = {str(decode(quiet, streams, sampling=sampling, seed=s).tolist()) for s in range(4)}
    several = {str(decode(noisy, streams, sampling=sampling, seed=s).tolist()) for s in range(4)}
    assert len(same) == 1 and len(several) > 1


def test_the_noise_fades_from_pass_to_pass(monkeypatch):
    told = []
    drawn = masked_decoding._drawn

    def spy(logits, options, level, noise):
        told.append((level, noise))
        return drawn(logits, options, level, noise)

    monkeypatch.setattr(masked_decoding, "_drawn", spy)
    decode(tiny_parallel(passes=(4, 2)), gaps(share=1.0, frames=40)[0])
    assert told == [(0, 0.75), (0, 0.5), (0, 0.25), (0, 0.0), (1, 0.5), (1, 0.0)]


def test_a_level_of_one_pass_is_no_warmer_than_its_setting():
    streams, _ = gaps(share=1.0)
    sampling = Sampling(temperature=1.0)

    def drawn(**settings):
        stage = tiny_parallel(passes=(1, 1), **settings)
        return {str(decode(stage, streams, sampling=sampling, seed=s).tolist()) for s in range(4)}

    assert len(drawn()) == 1
    assert len(drawn(one_pass_temperature=2.0)) == 4


def test_draws_follow_the_networks_probabilities():
    stage = tiny_parallel(passes=(1, 1), one_pass_temperature=1.0)
    semantic, codes = torch.tensor([[2]]), torch.tensor([[[MASK, 1], [0, 1]]])
    with torch.no_grad():
        logits = stage.transformer.logits(stage.transformer(codes, semantic), 0)[0, 0]
    rows = 6000
    many = Streams(semantic.repeat(rows, 1), codes.repeat(rows, 1, 1))
    found = decode(stage, many, sampling=Sampling(temperature=1.0))[:, 0, 0]
    share = torch.bincount(found, minlength=CODEBOOK) / rows
    torch.testing.assert_close(share, logits.softmax(-1), atol=0.03, rtol=0)


@pytest.mark.parametrize("frames", [25, 26, 41])
@pytest.mark.parametrize("context", [0.16, 0.24])  # 8 and 12 frames
def test_long_recordings_are_filled_window_by_window(frames, context):
    stage = tiny_parallel(context_seconds=context, passes=(3, 1))
    streams = random_streams(2, frames, levels=2)
    codes = streams.codes.clone()
    codes[:, :, 5:] = MASK
    codes[:, :, 16:19] = streams.codes[:, :, 16:19]
    streams = Streams(streams.semantic, codes)
    found = decode(stage, streams)
    for row in range(2):
        semantic = streams.semantic[row : row + 1]

        def fill(window, start, semantic=semantic):
            steps = semantic[:, start // 2 : (start + len(window[0]) + 1) // 2]
            return reference.fill_greedily(plain_predict(stage, steps), window, (3, 1))

        window = round(context * 50)
        expected = reference.fill_in_windows(fill, codes[row].tolist(), window)
        assert found[row].tolist() == expected


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0)])
def test_pieces_put_together_are_what_generate_returns(sampling):
    stage = tiny_parallel(context_seconds=0.24)
    streams = random_streams(2, 40, levels=2)
    given = Streams(streams.semantic, streams.codes[:, :, :7])
    whole = decode(stage, given, steps=33, sampling=sampling)
    pieces = stage.decode_stream(given, steps=33, sampling=sampling, generator=generator())
    pieces = [piece.codes for piece in pieces]
    assert torch.equal(torch.cat(pieces, dim=2), whole)
    assert [piece.shape[2] for piece in pieces] == [7, 5, 6, 6, 6, 6, 4]
    done = list(stage.decode_stream(streams, steps=0, sampling=sampling, generator=generator()))
    assert torch.equal(torch.cat([piece.codes for piece in done], dim=2), streams.codes)


def test_between_two_pieces_everything_is_the_callers():
    stage = tiny_parallel(context_seconds=0.24, dropout=0.5).train()
    streams, _ = gaps(frames=40)
    expected = decode(tiny_parallel(context_seconds=0.24), streams)
    pieces = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for piece in stage.decode_stream(streams, steps=0, sampling=GREEDY, generator=generator()):
            assert torch.is_grad_enabled() and torch.is_autocast_enabled("cpu") and stage.training
            pieces.append(piece.codes)
    assert torch.equal(torch.cat(pieces, dim=2), expected)


def test_the_callers_defaults_change_neither_codes_nor_likelihoods():
    stage, (streams, codes) = tiny_parallel(), gaps()
    whole, sampling = Streams(streams.semantic, codes), Sampling(temperature=1.0)
    plain = decode(stage, streams, sampling=sampling), stage.log_likelihood(whole).per_token
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
            chance = torch.Generator("cpu").manual_seed(0)
            found = stage.generate(streams, steps=0, sampling=sampling, generator=chance).codes
            likelihood = stage.log_likelihood(whole).per_token
            assert torch.get_default_dtype() == torch.float64 and torch.empty(1).is_meta
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, plain[0]) and torch.equal(likelihood, plain[1])


def test_progress_counts_what_is_filled():
    told = []
    stage = tiny_parallel(context_seconds=0.24)
    decode(stage, Streams(random_streams(2, 40).semantic), steps=40, progress=told.append)
    assert sum(told) == 2 * 40 and min(told) > 0


def test_bfloat16_products_are_near():
    stage, (streams, _) = tiny_parallel(), gaps(frames=60)
    expected = decode(stage, streams)
    for products in (torch.bfloat16, None):
        stage.products = products
        assert (decode(stage, streams) == expected).double().mean() > 0.8


def test_the_quickest_products_are_those_of_the_hardware(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    for there, products in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda there=there: there)
        assert quick_products(cpu) == products and quick_products(cuda) == torch.float32


# ---- guidance ------------------------------------------------------------------------------------


def test_guided_decoding_is_that_of_a_plain_loop():
    stage = tiny_parallel(passes=(5, 2), conditioning_dropout=0.1)
    streams, _ = gaps(rows=2)
    plain = decode(stage, streams)
    assert torch.equal(decode(stage, streams, sampling=Sampling(temperature=0, guidance=1)), plain)
    found = decode(stage, streams, sampling=Sampling(temperature=0, guidance=3.0))
    assert not torch.equal(found, plain)
    for row in range(2):
        semantic = streams.semantic[row : row + 1]

        def predict(codes, level, semantic=semantic):
            with torch.no_grad():
                said, unsaid = (
                    stage.transformer.logits(stage.transformer(torch.tensor([codes]), ids), level)
                    for ids in (semantic, torch.full_like(semantic, PAD))
                )
                return (3.0 * said - 2.0 * unsaid)[0].log_softmax(-1).tolist()

        expected = reference.fill_greedily(predict, streams.codes[row].tolist(), (5, 2))
        assert found[row].tolist() == expected


def test_a_stage_that_always_heard_the_ids_cannot_be_guided():
    with pytest.raises(ConfigurationError, match="parallel stage: guidance is 2, but this stage"):
        decode(tiny_parallel(), gaps()[0], sampling=Sampling(guidance=2.0))


def test_in_training_some_rows_hear_no_ids(monkeypatch):
    stage = tiny_parallel(conditioning_dropout=0.5)
    heard = []
    monkeypatch.setattr(
        stage.transformer,
        "forward",
        lambda codes, semantic, forward=stage.transformer.forward: (
            heard.append(semantic) or forward(codes, semantic)
        ),
    )
    torch.manual_seed(0)
    stage.train()(random_streams(200, 4, levels=2))
    silent = (heard[0] == PAD).all(1)
    assert torch.equal(silent, (heard[0] == PAD).any(1)) and 70 < int(silent.sum()) < 130
    stage.eval()(random_streams(200, 4, levels=2))
    assert not any((ids == PAD).any() for ids in heard[1:])


# ---- training ------------------------------------------------------------------------------------


def test_the_loss_counts_the_masked_tokens_of_the_asked_level_alone():
    stage = tiny_parallel().train()
    streams = random_streams(3, 16, levels=2)
    torch.manual_seed(1)
    loss = stage(streams)
    torch.manual_seed(1)
    masked = draw_masks(streams.codes, stage.config.masking)
    nats, right = {1: [], 2: []}, 0
    for row in range(3):
        level = int(masked.level[row])
        predict = plain_predict(stage, streams.semantic[row : row + 1])
        told = predict(masked.codes[row].tolist(), level)
        for frame in range(16):
            if masked.codes[row, level, frame] == MASK:
                target = int(streams.codes[row, level, frame])
                nats[level + 1].append(-told[frame][target])
                right += told[frame][target] == max(told[frame])
    every = nats[1] + nats[2]
    assert int(loss.tokens) == len(every) and int(loss.correct) == right
    assert loss.loss.item() == pytest.approx(sum(every) / len(every), rel=1e-4)
    for level, of_level in nats.items():
        if of_level:
            assert loss.counts[f"level {level}"] == len(of_level)
            mean = sum(of_level) / len(of_level)
            assert float(loss.kinds[f"level {level}"]) == pytest.approx(mean, rel=1e-4)


def test_judged_it_is_asked_of_every_level():
    stage, streams = tiny_parallel(), random_streams(3, 16, levels=2)
    torch.manual_seed(1)
    loss = stage(streams)
    nats, tokens = 0.0, 0
    torch.manual_seed(1)
    for level in (0, 1):
        masked = draw_masks(streams.codes, stage.config.masking, level=level)
        assert loss.counts[f"level {level + 1}"] == int(masked.asked.sum())
        for row in range(3):
            predict = plain_predict(stage, streams.semantic[row : row + 1])
            told = predict(masked.codes[row].tolist(), level)
            for frame in masked.asked[row].nonzero().squeeze(1).tolist():
                nats -= told[frame][int(streams.codes[row, level, frame])]
                tokens += 1
    assert loss.loss.item() == pytest.approx(nats / tokens, rel=1e-4)


def test_every_weight_learns():
    stage = tiny_parallel().train()
    stage(random_streams(16, 20, levels=2)).loss.backward()
    for name, weight in stage.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_padding_changes_nothing():
    stage = tiny_parallel()
    short, long = random_streams(1, 12, levels=2), random_streams(1, 20, seed=3, levels=2)
    semantic = torch.cat([F.pad(short.semantic, (0, 4), value=PAD), long.semantic])
    codes = torch.cat([F.pad(short.codes, (0, 8), value=PAD), long.codes])
    both = stage.log_likelihood(Streams(semantic, codes))
    alone = [stage.log_likelihood(one) for one in (short, long)]
    torch.testing.assert_close(both.total, torch.cat([one.total for one in alone]))
    torch.testing.assert_close(both.per_token[:1, :25], alone[0].per_token)
    assert not both.per_token[0, 24:].any() and not both.predicted[0, 24:].any()
    with torch.no_grad():
        hidden = stage.transformer(codes, semantic)[0, :12]
        torch.testing.assert_close(hidden, stage.transformer(short.codes, short.semantic)[0])


def test_padding_gives_no_gradient():
    stage = tiny_parallel()
    streams = random_streams(2, 20, levels=2)
    codes = streams.codes.clone()
    codes[0, :, 12:] = PAD
    semantic = streams.semantic % 3
    semantic[0, 6:] = PAD
    gradients = []
    for padding in (PAD, 5):
        stage.zero_grad()
        torch.manual_seed(2)
        stage(Streams(semantic.masked_fill(semantic == PAD, padding), codes)).loss.backward()
        gradients.append(stage.transformer.semantic.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert not gradients[1][5].any()


def test_a_rule_is_learnt_and_then_followed():
    """Codes follow from the semantic ids, and level 2 from level 1 of the frame before."""
    torch.manual_seed(0)
    stage = ParallelStage(tiny_parallel(levels=2, passes=(4, 1)).config)  # with first weights
    optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-2)

    def speech(rows, frames, seed):
        semantic = torch.randint(CLUSTERS, (rows, frames // 2), generator=generator(seed))
        first = (semantic.repeat_interleave(2, dim=1) * 2 + 1) % CODEBOOK
        second = F.pad(first[:, :-1], (1, 0)) * 3 % CODEBOOK
        return Streams(semantic, torch.stack([first, second], dim=1))

    losses = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 200)
        loss = stage.train()(speech(16, 24, step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5 and sum(losses[-10:]) / 10 < 0.1
    asked = speech(4, 24, 1000)
    found = decode(stage.eval(), Streams(asked.semantic), steps=24)
    assert (found == asked.codes).double().mean() > 0.95


# ---- likelihood ----------------------------------------------------------------------------------


def test_the_likelihood_is_that_of_one_pass_for_each_level():
    stage = tiny_parallel()
    streams = random_streams(2, 7, levels=2)
    found = stage.log_likelihood(streams)
    assert torch.equal(found.predicted.sum(1), torch.tensor([14, 14]))
    for row in range(2):
        predict = plain_predict(stage, streams.semantic[row : row + 1])
        known, expected = [[MASK] * 7, [MASK] * 7], []
        for level in range(2):
            told = predict(known, level)
            known[level] = streams.codes[row, level].tolist()
            expected.append([told[frame][code] for frame, code in enumerate(known[level])])
        in_order = [level[frame] for frame in range(7) for level in expected]
        torch.testing.assert_close(found.per_token[row, :14], torch.tensor(in_order))
        assert float(found.total[row]) == pytest.approx(sum(in_order), rel=1e-5)


def test_the_likelihoods_of_all_sequences_sum_to_one():
    stage = tiny_parallel(levels=1, passes=(1,))
    every = torch.cartesian_prod(*[torch.arange(CODEBOOK)] * 3)[:, None]  # (N ** 3, 1, 3)
    semantic = torch.tensor([[1, 4]]).expand(len(every), -1)
    total = stage.log_likelihood(Streams(semantic, every)).total.logsumexp(0)
    assert float(total) == pytest.approx(0.0, abs=1e-4)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("streams", "steps", "says"),
    [
        (Streams(None, random_streams(1, 6).codes), 0, "parallel stage: streams have no semantic"),
        (Streams(torch.tensor([[1, 2]])), 5, "5 frames need 3 semantic ids, got 2; give more"),
        (Streams(torch.tensor([[1, PAD]])), 2, "what is given is padded"),
        (Streams(torch.tensor([[1]]), torch.tensor([[[1, PAD], [1, 2]]])), 0, "given is padded"),
        (Streams(torch.tensor([[1]]), torch.tensor([[[1, 99], [1, 2]]])), 0, "knows 0 to 4"),
        (Streams(torch.tensor([[77]])), 2, "semantic ids lie between 77 and 77"),
    ],
)
def test_streams_that_do_not_fit_are_refused_at_the_call(streams, steps, says):
    with pytest.raises(AudioLMError, match=says):
        tiny_parallel().decode_stream(streams, steps=steps, sampling=GREEDY, generator=generator())


def test_damaged_weights_are_told():
    stage = tiny_parallel()
    with torch.no_grad():
        stage.transformer.norm.weight.fill_(math.nan)
    with pytest.raises(AudioLMError, match="parallel stage: the network's output is not finite"):
        decode(stage, gaps()[0])


def test_streams_without_a_token_are_refused_in_training():
    codes = torch.full((1, 2, 4), PAD)
    with pytest.raises(AudioLMError, match="hold no token to predict"):
        tiny_parallel()(Streams(torch.full((1, 2), PAD), codes))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"passes": (16,)}, "passes: 16 is not 2 whole numbers from 1 on"),
        ({"passes": (0, 1)}, r"passes: 0,1 is not 2 whole numbers .* e\.g\. 16,1"),
        ({"passes": ()}, "passes: none is not 2"),
    ],
)
def test_passes_that_cannot_be_are_refused(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        tiny_parallel(**settings)
    with pytest.raises(ConfigurationError, match=says):
        tiny_parallel().with_passes(settings["passes"])


def test_layouts_that_cannot_be_are_refused():
    config = tiny_parallel().config
    for change, says in (
        ({"conditioning": "prefix"}, "^layout.conditioning: .* set it to aligned"),
        ({"look_ahead": 1}, "^layout.look_ahead: .* leave it out"),
    ):
        layout = config.layout.model_copy(update=change)
        with pytest.raises(ConfigurationError, match=says):
            type(config)(layout=layout, context_seconds=1.0, passes=(1, 1))
