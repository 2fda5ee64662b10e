"""The recipe: which steps are taken, which are done, which are stale, and for how long."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from audiolm.errors import ConfigurationError, CorpusError, TrainingError
from audiolm.model_io.manifest import read_manifest
from audiolm.training import recipe
from audiolm.training.plan import choose_steps, divide_minutes
from audiolm.training.preset import load_preset
from audiolm.training.recipe import STEPS, TrainingRequest, train_model

STAGES = [step.name for step in STEPS if step.key.startswith("stages.")]
RECIPE = ["codec", "w2v_bert", "clustering", "tokens", *STAGES]


@pytest.fixture
def model(trained_model, tmp_path) -> Path:
    """A copy of the trained model, to be trained further."""
    return shutil.copytree(trained_model, tmp_path / "model")


@pytest.fixture
def again(training_corpus, model):
    """`again(*settings, only=..., ...)`: the same command again, with changes."""

    def run(*settings: str, **changes):
        preset = load_preset("tiny", settings)
        return train_model(TrainingRequest(training_corpus, model, preset, **changes))["steps"]

    return run


def log_lines(model: Path, step: str) -> list[dict]:
    return [
        json.loads(line)
        for line in (model / "training" / step / "log.jsonl").open(encoding="utf-8")
    ]


def fingerprints(model: Path) -> dict[str, str]:
    return {name: entry.fingerprint for name, entry in read_manifest(model).parts.items()}


def test_the_whole_recipe_makes_every_part_and_says_of_what(trained_model, training_corpus) -> None:
    manifest = read_manifest(trained_model)
    assert set(manifest.parts) == {"codec", "semantic", *(f"stage_{name}" for name in STAGES)}
    assert manifest.preset == load_preset("tiny").model_dump(mode="json")
    assert manifest.data["folder"] == training_corpus.name
    recordings = manifest.data["recordings"]
    assert recordings["train files"] + recordings["validation files"] == 10
    assert manifest.made_by.startswith("audiolm ")
    prints = fingerprints(trained_model)
    for name in STAGES:
        config = manifest.parts[f"stage_{name}"].config
        reads_codes, reads_ids = name != "semantic", name in ("semantic", "coarse", "parallel")
        assert config["codec_fingerprint"] == (prints["codec"] if reads_codes else "")
        assert config["semantic_fingerprint"] == (prints["semantic"] if reads_ids else "")
        assert 5 < config["semantic_rate"] < 25
        if name == "semantic":
            assert len(config["repetition"]["longest_loops"]) == 50
            assert config["repetition"]["silent_ids"]
        else:
            assert not config.get("repetition")


def test_every_stage_beats_the_frequencies(trained_model) -> None:
    for name in STAGES:
        last = log_lines(trained_model, name)[-1]
        assert last["kind"] == "validation"
        assert last["bits"] < last["unigram bits"], name


def test_done_steps_are_not_trained_again(again, model, capsys) -> None:
    before = {step: len(log_lines(model, step)) for step in ("codec", "w2v_bert", *STAGES)}
    prints = fingerprints(model)
    metrics = again()
    assert metrics["codec"]["steps"] == 30
    assert {step: len(log_lines(model, step)) for step in before} == before
    assert fingerprints(model) == prints
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == RECIPE
    assert all("done already" in line and "--restart trains anew" in line for line in said)


def test_restart_begins_anew_keeps_the_old_state_and_comes_to_the_same(again, model) -> None:
    prints = fingerprints(model)
    again(only=["coarse"], restart=True, quiet=True)
    assert fingerprints(model) == prints  # nothing depends on the steps taken before
    old, new = log_lines(model, "coarse.old-1"), log_lines(model, "coarse")
    assert [line["loss"] for line in old] == [line["loss"] for line in new]


def test_a_stage_begins_with_what_its_ids_stand_for(again, model) -> None:
    again("training.stages.coarse.start_from_vectors=false", only=["coarse"], restart=True)
    with_vectors, at_random = log_lines(model, "coarse.old-1"), log_lines(model, "coarse")
    assert [line["loss"] for line in with_vectors] != [line["loss"] for line in at_random]


def test_restart_sets_every_chosen_step_aside_before_the_first(again, model, monkeypatch) -> None:
    """Or those after an interruption would be taken for done."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        again(only=["codec", "fine"], restart=True)
    assert not (model / "training" / "codec").exists()
    assert not (model / "training" / "fine").exists()
    assert (model / "training" / "fine.old-1" / "done.json").exists()
    assert (model / "training" / "coarse" / "done.json").exists()


def test_more_steps_go_on_from_the_end(again, model) -> None:
    longer = "training.stages.fine.optimization.steps=34"
    metrics = again(longer, only=["fine"], quiet=True)
    assert metrics["fine"]["steps"] == 34
    lines = log_lines(model, "fine")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [20, 30, 34]
    count = len(lines)
    again(longer, only=["fine"], quiet=True)
    assert len(log_lines(model, "fine")) == count  # that is done now, too


def test_more_minutes_go_on_but_never_beyond_the_steps(again, model) -> None:
    done = again(only=["fine"], minutes=10, quiet=True)
    assert done["fine"]["steps"] == 30
    assert len(log_lines(model, "fine")) == 5  # 30 steps were all: nothing was added


@pytest.mark.parametrize(
    ("setting", "only", "says"),
    [
        ("training.codec.crop_seconds=0.7", "codec", r"training\.codec\.crop_seconds was 0.5"),
        ("codec.width=48", "codec", r"codec\.width was 32 .* and is now 48"),
        ("stages.fine.transformer.dropout=0.5", "fine", r"stages\.fine\.transformer\.dropout was"),
        ("training.stages.fine.optimization.batch_size=5", "fine", "batch_size was 4 .* now 5"),
        ("seed=1", "w2v_bert", "seed was 0 .* and is now 1"),
        ("data.validation_share=0.4", "w2v_bert", r"data\.validation_share was 0.2"),
        ("training.clustering.iterations=9", "clustering", r"clustering\.iterations was 4"),
    ],
)
def test_other_settings_are_refused_and_the_key_is_named(again, setting, only, says) -> None:
    with pytest.raises(ConfigurationError, match=says + ".*--restart"):
        again(setting, only=[only], quiet=True, restart=False)


def test_a_network_is_clustered_as_it_was_trained(again) -> None:
    with pytest.raises(ConfigurationError, match=r"w2v_bert\.distractors was 20 .* is now 9"):
        again("w2v_bert.distractors=9", only=["clustering"], restart=True, quiet=True)


def test_what_stands_on_other_parts_is_refused_with_the_remedy(again, model) -> None:
    again("training.codec.optimization.steps=31", only=["codec"], quiet=True)
    for name in ("tokens", "coarse"):
        with pytest.raises(
            TrainingError, match=rf"{name}: was made from other parts .*--only {name} --restart"
        ):
            again(only=[name], quiet=True)
    with pytest.raises(CorpusError, match=r"tokens are made with codec .*write the tokens again"):
        again(only=["coarse"], restart=True, quiet=True)
    again(only=["semantic"], quiet=True)  # reads no codes: nothing is stale


def test_a_step_that_was_interrupted_stands_on_what_it_was_begun_on(again, model) -> None:
    """Or half of a stage would be trained on the codes of one codec, half on those of another."""
    (model / "training" / "coarse" / "done.json").unlink()
    again("training.codec.optimization.steps=31", only=["codec"], quiet=True)
    again(only=["tokens"], restart=True, quiet=True)
    with pytest.raises(TrainingError, match=r"coarse: was made from other parts .*--only coarse"):
        again(only=["coarse"], quiet=True)
    again(only=["coarse"], restart=True, quiet=True)


def test_clustering_stands_on_the_network_it_clustered(again, model) -> None:
    again("training.w2v_bert.optimization.steps=31", only=["w2v_bert"], quiet=True)
    with pytest.raises(TrainingError, match="clustering: was made from other parts"):
        again(only=["clustering"], quiet=True)
    before = fingerprints(model)["semantic"]
    again("training.w2v_bert.optimization.steps=31", only=["clustering"], restart=True, quiet=True)
    assert fingerprints(model)["semantic"] != before


def test_steps_are_taken_in_the_order_of_the_recipe(again, monkeypatch) -> None:
    taken = []
    monkeypatch.setattr(recipe, "take", lambda step, context: taken.append(step.name) or {})
    again(only=["fine", "tokens", "codec"])
    assert taken == ["codec", "tokens", "fine"]
    taken.clear()
    again()
    assert taken == RECIPE


def test_steps_that_do_not_exist_are_refused_before_anything_is_done(training_corpus, tmp_path):
    request = TrainingRequest(training_corpus, tmp_path / "m", load_preset("tiny"), only=["codex"])
    with pytest.raises(
        ConfigurationError, match="--only codex: not a step; use some of codec, w2v"
    ):
        train_model(request)
    preset = load_preset("tiny").model_copy(update={"stages": {}})
    with pytest.raises(ConfigurationError, match=r"stages\.semantic: not in preset tiny; add it"):
        train_model(TrainingRequest(training_corpus, tmp_path / "m", preset))
    assert not (tmp_path / "m").exists()


def minutes(only=(), preset=None, total: float | None = 60.0) -> dict[str, float]:
    preset = preset or load_preset("tiny")
    return divide_minutes(choose_steps(STEPS, preset, only), preset, total)


def test_minutes_are_shared_among_the_steps_that_are_trained() -> None:
    equal = minutes(total=70.0)
    assert "clustering" not in equal and "tokens" not in equal
    assert set(equal.values()) == {10.0}
    preset = load_preset("tiny", ["shares={codec: 3, semantic: 1}"])
    assert minutes(["codec", "semantic"], preset) == {"codec": 45.0, "semantic": 15.0}
    # Those without a share have 1.
    assert minutes(["codec", "fine"], preset) == {"codec": 45.0, "fine": 15.0}
    assert minutes(["tokens"]) == {}
    assert minutes(total=None) == {}
    assert sum(minutes(preset=load_preset("small")).values()) == pytest.approx(60)


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf, 0.0, -3.0])
def test_a_time_that_cannot_be_is_refused_at_the_door(training_corpus, tmp_path, total) -> None:
    request = TrainingRequest(training_corpus, tmp_path / "m", load_preset("tiny"), minutes=total)
    with pytest.raises(ConfigurationError, match=r"--minutes .*: not a time; give a number above"):
        train_model(request)
    assert not (tmp_path / "m").exists()


def test_a_share_of_nothing_is_refused_where_it_would_be_without_end() -> None:
    with pytest.raises(ConfigurationError, match=r"shares\.codec: 0 leaves no time for it"):
        minutes(["codec"], load_preset("tiny", ["shares={codec: 0}"]))


def test_a_step_without_any_length_is_refused(again, model) -> None:
    with pytest.raises(
        ConfigurationError, match=r"--set training\.stages\.fine\.optimization\.steps=N"
    ):
        again("training.stages.fine.optimization.steps=null", only=["fine"], restart=True)


def test_recordings_shorter_than_every_crop_make_a_model(corpus_folder, tmp_path) -> None:
    folder = corpus_folder(6, layout="librispeech", speakers=3, seconds=0.1)  # 0.1 to 0.6 s
    places = ["training.codec", "training.w2v_bert", *(f"training.stages.{s}" for s in STAGES)]
    short = [f"{place}.optimization.steps=2" for place in places]
    preset = load_preset("tiny", [*short, "training.clustering.iterations=1"])
    steps = train_model(TrainingRequest(folder, tmp_path / "model", preset, quiet=True))["steps"]
    assert all(math.isfinite(steps[name]["loss"]) for name in ("codec", "w2v_bert", *STAGES))


def test_quiet_says_warnings_and_nothing_else(again, capsys, monkeypatch) -> None:
    again(only=["clustering", "tokens", "coarse"], restart=True, quiet=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert [line for line in said.err.splitlines() if "warning: " not in line] == []


def test_a_step_is_seeded_by_the_preset(again, model, capsys) -> None:
    """A network that starts from other random numbers has other weights."""
    prints = fingerprints(model)
    again("seed=1", only=["fine"], restart=True, quiet=True)
    assert fingerprints(model)["stage_fine"] != prints["stage_fine"]


def test_the_global_generator_decides_nothing(again, model) -> None:
    prints = fingerprints(model)
    torch.manual_seed(123)
    again(only=["semantic"], restart=True, quiet=True)
    assert fingerprints(model) == prints
