"""A parallel stage that is trained for a model that has none: what it starts from."""

import json

import pytest
import torch

from audiolm.cli.main import main
from audiolm.model_io.manifest import read_manifest
from audiolm.pretrained import load
from audiolm.stages import ParallelStage, build_stage
from audiolm.stages.streams import PAD
from audiolm.training.initialisation import start_from, start_from_coarse
from tiny import K, noise, tiny_model

ALIGNED = {"conditioning": "aligned", "remove_repeats": False, "look_ahead": 1}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("coarse", "parallel"), **ALIGNED)


@pytest.fixture
def folder(lm, tmp_path):
    """The model's folder, its weights to the last bit."""
    lm.save(tmp_path / "m", dtype="float32")
    return tmp_path / "m"


def first_weights(config) -> ParallelStage:
    torch.manual_seed(5)
    stage = build_stage("parallel", config)
    assert isinstance(stage, ParallelStage)
    return stage


def test_it_starts_from_what_the_coarse_stage_knows_of_the_same_ids(lm, folder) -> None:
    coarse, stage = lm.stages["coarse"], first_weights(lm.stages["parallel"].config)
    before = {name: weight.clone() for name, weight in stage.state_dict().items()}
    assert start_from_coarse(folder, stage)
    layout, transformer = coarse.layout, coarse.transformer
    for level in range(2):
        own = stage.transformer.embedding.weight.view(2, layout.classes + 1, -1)[level]
        first = layout.first_id(level + 1)
        theirs = transformer.embedding.weight[first : first + layout.classes]
        assert torch.equal(own[:-1], theirs)
        mask = before["transformer.embedding.weight"].view(2, layout.classes + 1, -1)[level, -1]
        assert torch.equal(own[-1], mask)  # the coarse stage knows no mask
    assert torch.equal(stage.transformer.heads, transformer.heads)
    said, none = torch.tensor([[3, PAD]]), torch.tensor([[PAD, PAD]])
    start = torch.tensor([0])
    meant = transformer.embed(start, said) - transformer.embed(start, none)
    row = stage.transformer.semantic.weight[3] - transformer.aligned.weight[0]
    torch.testing.assert_close(meant[0], row)
    own, theirs = (one.blocks.state_dict() for one in (stage.transformer, transformer))
    assert all(torch.equal(own[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "change",
    [
        {"codec_fingerprint": "0" * 64},
        {"semantic_fingerprint": "0" * 64},
        {"transformer": {"width": 32, "heads": 2, "layers": 1, "feed_forward": 32}},
    ],
)
def test_from_another_kind_of_coarse_stage_nothing_is_taken(lm, folder, change) -> None:
    config = lm.stages["parallel"].config
    stage = first_weights(type(config)(**(config.model_dump() | change)))
    before = {name: weight.clone() for name, weight in stage.state_dict().items()}
    assert not start_from_coarse(folder, stage)
    assert all(torch.equal(before[name], weight) for name, weight in stage.state_dict().items())


def test_new_semantic_ids_mean_what_the_old_ones_did(lm, folder) -> None:
    config = lm.stages["parallel"].config
    layout = config.layout.model_copy(update={"clusters": 2 * K})
    stage = first_weights(config.model_copy(update={"layout": layout}))
    start_from(folder, "stage_parallel", stage, torch.eye(K).repeat(2, 1))
    rows = lm.stages["parallel"].transformer.semantic.weight
    expected = torch.cat([rows[:-1], rows[:-1], rows[-1:]])  # no id is last
    assert torch.equal(stage.transformer.semantic.weight, expected)
    assert torch.equal(stage.transformer.heads, lm.stages["parallel"].transformer.heads)


def test_a_model_gains_the_stage_and_its_other_parts_stay(
    trained_model, training_corpus, tmp_path, capsys
) -> None:
    """`--from MODEL --only tokens,parallel`, the model without one."""
    start, out = tmp_path / "start", tmp_path / "out"
    given = load(trained_model)
    del given.stages["parallel"]
    given.save(start)
    arguments = ["train", str(training_corpus), "--out", str(out), "--preset", "tiny"]
    arguments += ["--from", str(start), "--only", "tokens,parallel", "--json"]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["lacks"] == []
    assert {"loss", "accuracy", "bits level 1", "bits level 2"} <= said["steps"]["parallel"].keys()
    old, new = (read_manifest(folder).parts for folder in (start, out))
    assert new.keys() - old.keys() == {"stage_parallel"}
    assert all(new[name].fingerprint == old[name].fingerprint for name in old)
    sound = load(out).continuation(noise(1.0), 0.5, acoustic="parallel")
    assert sound.seconds == 1.5
