import math

import pytest
import torch

from audiolm.errors import AudioLMError
from audiolm.stages import AutoregressiveStage, Streams
from stages.tiny_stages import KINDS, random_streams, tiny


def plain_log_likelihoods(stage, streams, row):
    """For one row: (log p, kind, whether it was the likeliest) of each predicted token in turn."""
    flat = stage.layout.flatten(streams)
    result = []
    with torch.no_grad():
        for place in range(flat.ids.shape[1]):
            kind = int(flat.kinds[row, place])
            if kind < 0:
                continue
            until = slice(place + 1)
            ids, aligned = flat.ids[row : row + 1, until], flat.aligned[row : row + 1, until]
            hidden = stage.transformer(ids, aligned)[0, -1]
            logits = stage.transformer.heads[kind - stage.layout.kinds.start] @ hidden
            entry = int(flat.targets[row, place]) - stage.layout.first_id(kind)
            log_p = logits[entry] - logits.exp().sum().log()
            result.append((float(log_p), kind, int(logits.argmax()) == entry))
    return result


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_loss_and_log_likelihood_equal_a_plain_loop(kind, conditioning):
    stage = tiny(kind, conditioning)
    streams = random_streams(2, 6, ended=torch.tensor([True, False]))
    plain = [plain_log_likelihoods(stage, streams, row) for row in range(2)]
    every = plain[0] + plain[1]

    likelihood = stage.log_likelihood(streams)
    for row in range(2):
        expected = torch.tensor([token[0] for token in plain[row]])
        torch.testing.assert_close(likelihood.total[row], expected.sum(), rtol=1e-4, atol=1e-4)
        at = likelihood.predicted[row]
        torch.testing.assert_close(likelihood.per_token[row][at], expected, rtol=1e-4, atol=1e-4)
        assert (likelihood.per_token[row][~at] == 0).all()

    loss = stage(streams)
    assert int(loss.tokens) == len(every)
    assert int(loss.correct) == sum(token[2] for token in every)
    mean = -sum(token[0] for token in every) / len(every)
    assert float(loss.loss.detach()) == pytest.approx(mean, abs=1e-4)
    names = {"semantic" if k == 0 else f"level {k}": k for _, k, _ in every}
    assert loss.kinds.keys() == names.keys()
    for name, kind_here in names.items():
        own = [-t[0] for t in every if t[1] == kind_here]
        assert float(loss.kinds[name]) == pytest.approx(sum(own) / len(own), abs=1e-4)


def test_only_predicted_tokens_count():
    tokens = {
        "semantic": 2 * 3 + 1,
        "coarse": 2 * 6 * 2,
        "fine": 2 * 6 * 2,
        "acoustic_only": 2 * 6 * 2,
    }
    streams = random_streams(2, 6, ended=torch.tensor([True, False]))
    for kind, expected in tokens.items():
        assert int(tiny(kind, remove_repeats=False)(streams).tokens) == expected


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_padding_changes_nothing_for_any_row(kind, conditioning):
    stage = tiny(kind, conditioning)
    long, short = random_streams(1, 9), random_streams(1, 4, seed=1)
    semantic = torch.full((2, 5), -1)
    codes = torch.full((2, 4, 9), -1)
    semantic[0], codes[0] = long.semantic[0], long.codes[0]
    semantic[1, :2], codes[1, :, :4] = short.semantic[0], short.codes[0]
    together = stage.log_likelihood(Streams(semantic, codes)).total
    alone = torch.cat([stage.log_likelihood(row).total for row in (long, short)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "conditioning"), [c for c in KINDS if c[0] in ("coarse", "fine")])
def test_conditioning_changes_the_probabilities(kind, conditioning):
    stage = tiny(kind, conditioning)
    streams = random_streams(1, 6)
    before = stage.log_likelihood(streams).total
    for place in range(3):
        semantic, codes = streams.semantic.clone(), streams.codes.clone()
        if kind == "coarse":
            semantic[0, place] = (semantic[0, place] + 1) % 6
        else:
            codes[0, 1, place] = (codes[0, 1, place] + 1) % 5
        assert abs(float(stage.log_likelihood(Streams(semantic, codes)).total - before)) > 1e-3


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_one_batch_can_be_learnt_by_heart(kind, conditioning):
    torch.manual_seed(0)
    stage = tiny(kind, conditioning, dropout=0.0).train()
    streams = random_streams(2, 8, ended=torch.tensor([True, True]))
    optimizer = torch.optim.Adam(stage.parameters(), lr=0.02)
    first = float(stage(streams).loss.detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss = stage(streams)
        loss.loss.backward()
        optimizer.step()
    assert first > 1.0
    # Two rows that begin alike cannot be told apart at the first token: nothing else is left.
    assert float(loss.loss.detach()) < 0.35
    assert int(loss.correct) >= int(loss.tokens) - 2


@pytest.mark.parametrize(("kind", "conditioning"), KINDS)
def test_bfloat16_autocast_trains(kind, conditioning):
    stage = tiny(kind, conditioning).train()
    streams = random_streams(2, 8)
    exact = float(stage(streams).loss.detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = stage(streams).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(exact, rel=0.05)
    assert all(weight.grad.isfinite().all() for weight in stage.parameters())


def test_dropout_acts_in_training_alone():
    stage = tiny("acoustic_only", dropout=0.5)
    streams = random_streams(1, 6)
    evaluated = [float(stage(streams).loss.detach()) for _ in range(2)]
    stage.train()
    trained = [float(stage(streams).loss.detach()) for _ in range(2)]
    assert evaluated[0] == evaluated[1]
    assert len({*trained, evaluated[0]}) == 3
    likelihood = stage.log_likelihood(streams)
    assert float(likelihood.total) == pytest.approx(-evaluated[0] * 12, rel=1e-4)
    assert stage.training


def test_streams_without_anything_to_predict_are_refused():
    stage = tiny("acoustic_only")
    with pytest.raises(AudioLMError, match=r"^acoustic_only stage: .*no token to predict"):
        stage(Streams(codes=torch.zeros(1, 2, 0, dtype=torch.long)))


def test_initial_loss_is_near_that_of_a_uniform_guess():
    torch.manual_seed(0)
    stage = AutoregressiveStage(tiny("acoustic_only").config)
    assert float(stage(random_streams(4, 20)).loss.detach()) == pytest.approx(math.log(5), abs=0.1)
