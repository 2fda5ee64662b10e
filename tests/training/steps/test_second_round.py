"""The second round of w2v-BERT: targets beside the waveform they name, resuming, the recipe."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiolm.data.corpus import open_corpus
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.errors import ConfigurationError, CorpusError, TrainingError
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
from audiolm.training.distributed import World
from audiolm.training.preset import load_preset
from audiolm.training.recipe import TrainingRequest, train_model
from audiolm.training.recordings import Recordings
from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining
from training.resuming import CPU, KilledError, assert_resumed_equals_uninterrupted, optimization
from training.toy import SECOND_ROUND

K = 13
STEP = 640
"""Samples of one semantic step."""
CONFIG = W2vBertConfig(
    conformer=ConformerConfig(width=16, layers=2, heads=2, feed_forward=32, kernel=3, dropout=0.1),
    contrastive_layers=1,
    contrastive_weight=0.0,
    external_targets=K,
    unmasked_weight=0.5,
)


@pytest.fixture
def numbered(tmp_path) -> Callable[..., tuple[Recordings, TokenStore]]:
    """`numbered(lengths)`: recordings whose every sample tells where it stands, and their ids.

    All samples of semantic step s of recording r have the value 1000 r + s + 1 (of 32768), and the
    step's id is (100 r + s) % K.
    """

    def make(lengths, name: str = "a") -> tuple[Recordings, TokenStore]:
        root = tmp_path / name
        root.mkdir()
        for number, length in enumerate(lengths):
            samples = 1000 * number + 1 + np.arange(length) // STEP
            soundfile.write(root / f"{number}.wav", samples.astype(np.int16), 16_000)
        corpus = open_corpus(root)
        recordings = Recordings.open(corpus, root / "pack", CPU, World(), seed=5, quiet=True)
        format = TokenFormat(semantic_fingerprint="s", clusters=K)
        writer = TokenWriter(root / "tokens", corpus.recordings, format)
        steps = [np.arange(-(-length // STEP)) for length in lengths]
        writer.write(0, [(100 * number + s) % K for number, s in enumerate(steps)])
        assert writer.finish()
        return recordings, TokenStore(root / "tokens")

    return make


def assert_aligned(waveform: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor) -> int:
    """Every step's samples and id belong together; returns the crops that reach an end."""
    assert waveform.shape == (len(targets), STEP * targets.shape[1])
    ended = 0
    for samples, length, ids in zip(waveform, lengths.tolist(), targets.tolist(), strict=True):
        values = (samples * 32768).round().long().view(-1, STEP)  # (S, 640)
        assert int((values > 0).sum()) == length  # no sample is 0 but the padding
        for row, found in zip(values.tolist(), ids, strict=True):
            told = set(row) - {0}
            if found == -1:
                assert not told
                continue
            (value,) = told  # one step of the recording, and no part of the next
            number, step = divmod(value - 1, 1000)
            assert found == (100 * number + step) % K
        ended += -1 in ids
    return ended


def numbered_task(numbered, crop_seconds: float = 0.5, world: World | None = None) -> W2vBertTask:
    train, targets = numbered([30_000, 12_345, 3_000, 51_200])
    validation, validation_targets = numbered([20_001, 640, 9_999], "b")
    train.world = world or World()
    crops = 3 * train.world.size  # three on each process
    training = W2vBertTraining(
        optimization=optimization(6, batch_size=crops), crop_seconds=crop_seconds
    )
    return W2vBertTask(CONFIG, training, train, validation, 3, (targets, validation_targets))


def test_targets_are_the_ids_of_what_is_heard(numbered) -> None:
    task = numbered_task(numbered)
    ended, starts = 0, set()
    for step in range(40):
        batch = task.batch(step, 0)
        assert batch["targets"].shape == (3, 12)
        ended += assert_aligned(batch["clean"], batch["lengths"], batch["targets"])
        assert not torch.equal(batch["noisy"], batch["clean"])  # it hears them perturbed
        starts |= {int(value) for value in (batch["clean"][:, 0] * 32768).round()}
    assert ended and len(starts) > 20


@torch.no_grad()
def test_validation_names_the_ids_of_what_it_hears(numbered) -> None:
    task = numbered_task(numbered)
    heard = []
    network = task.network.eval()
    network.register_forward_pre_hook(
        lambda _, args, kwargs: heard.append((args, kwargs)), with_kwargs=True
    )
    validation = task.validate(network)
    ((waveform, noisy, lengths), more) = heard[0]
    assert noisy is None  # clean crops, one of each recording
    assert len(waveform) == 3
    assert assert_aligned(waveform, lengths, more["targets"]) == 1
    assert validation.metrics["loss"] > 0
    assert validation.warnings == []  # there is no codebook that could collapse


def test_a_crop_that_is_no_whole_number_of_steps_is_rounded_to_one(numbered) -> None:
    assert numbered_task(numbered, crop_seconds=0.07).batch(0, 0)["targets"].shape == (3, 2)


def test_a_crop_shorter_than_a_step_is_one_step(numbered) -> None:
    assert numbered_task(numbered, crop_seconds=0.001).batch(0, 0)["targets"].shape == (3, 1)


def test_batches_depend_on_step_and_rank_alone_and_ranks_draw_others(numbered) -> None:
    task = numbered_task(numbered, world=World(1, 2))
    first = {key: task.batch(*key) for key in [(0, 0), (0, 1), (1, 0)]}
    for key in [(1, 0), (0, 1), (0, 0)]:
        for name, tensor in task.batch(*key).items():
            assert torch.equal(tensor, first[key][name]), (key, name)
    assert not torch.equal(first[0, 0]["clean"], first[0, 1]["clean"])


def test_resumed_equals_uninterrupted(numbered, tmp_path) -> None:
    parts = numbered([30_000, 12_345, 51_200]), numbered([20_001, 9_999], "b")
    (train, targets), (validation, validation_targets) = parts
    training = W2vBertTraining(optimization=optimization(6), crop_seconds=0.8)

    def build() -> W2vBertTask:
        return W2vBertTask(CONFIG, training, train, validation, 3, (targets, validation_targets))

    assert_resumed_equals_uninterrupted(build, tmp_path / "runs", dies_at=3)


# ---- the steps of the recipe ---------------------------------------------------------------------

STEPS = ("second_round", "second_clustering")


@pytest.fixture
def train(trained_model, training_corpus, tmp_path):
    """`train(*settings, only=..., out=...)`: a second round for a copy of the trained model."""

    def run(*settings: str, out: str = "model", folder: Path = training_corpus, **changes):
        model = tmp_path / out
        if not model.exists() and model.parent == tmp_path:
            shutil.copytree(trained_model, model)
        preset = load_preset("tiny", [*SECOND_ROUND, *settings])
        request = TrainingRequest(
            folder, model, preset, **({"only": STEPS, "quiet": True} | changes)
        )
        return train_model(request)["steps"]

    return run


def semantic(model: Path) -> str:
    return read_manifest(model).parts["semantic"].fingerprint


def test_a_second_round_makes_another_tokenizer_of_the_first(train, trained_model, tmp_path):
    metrics = train()
    model = tmp_path / "model"
    assert metrics["second_round"]["steps"] == 30
    assert metrics["second_round"]["masked_prediction"] < np.log(16)  # better than guessing
    assert semantic(model) != semantic(trained_model)
    kept = load_part(model / "training" / "clustering", "semantic")
    assert kept.fingerprint() == semantic(trained_model)
    done = json.loads((model / "training" / "second_round" / "done.json").read_text())
    assert done["inputs"]["semantic"] == semantic(trained_model)
    # What it learnt to name are the first tokenizer's ids.
    targets = TokenStore(model / "training" / "second_round" / "targets" / "validation")
    for index, recording in enumerate(targets.recordings):
        samples = torch.from_numpy(soundfile.read(recording.path, dtype="float32")[0])[None]
        assert torch.equal(targets.semantic(index), kept.encode(samples)[0])


def test_it_starts_from_the_first_rounds_layers(train, trained_model, monkeypatch) -> None:
    seen = []
    original = W2vBertTask.batch

    def batch(task, step, rank, progress=0.0):
        seen.append({k: v.clone() for k, v in task.network.conformer.state_dict().items()})
        raise KilledError

    monkeypatch.setattr(W2vBertTask, "batch", batch)
    with pytest.raises(KilledError):
        train()
    monkeypatch.setattr(W2vBertTask, "batch", original)
    for name, tensor in load_part(trained_model, "semantic").conformer.state_dict().items():
        assert torch.equal(seen[0][name], tensor), name


@pytest.mark.parametrize("dies", ["in its targets", "in its training"])
def test_killed_and_started_again_it_comes_to_the_same(train, tmp_path, monkeypatch, dies) -> None:
    train(out="whole")
    with monkeypatch.context() as patch:
        if dies == "in its targets":
            encode, calls = type(load_part(tmp_path / "whole", "semantic")).encode, []

            def dying(self, *arguments):
                calls.append(1)
                if len(calls) == 3:
                    raise KilledError
                return encode(self, *arguments)

            patch.setattr("audiolm.semantic.W2vBertTokenizer.encode", dying)
        else:
            batch = W2vBertTask.batch

            def dying(self, step, rank, progress=0.0):
                if step == 17:
                    raise KilledError
                return batch(self, step, rank)

            patch.setattr(W2vBertTask, "batch", dying)
        small = "training.tokens={shard_size: 2}" if dies == "in its targets" else "seed=0"
        every = "training.second_round.optimization.checkpoint_seconds=0.000001"
        with pytest.raises(KilledError):
            train(small, every, out="parts")
    torch.manual_seed(99)
    train(small, every, out="parts")
    assert semantic(tmp_path / "parts") == semantic(tmp_path / "whole")


def test_done_it_is_not_done_again_unless_more_is_asked(train, capsys) -> None:
    train()
    train(quiet=False)
    said = capsys.readouterr().err
    assert said.count("done already") == 2
    metrics = train("training.second_round.optimization.steps=33", only=["second_round"])
    assert metrics["second_round"]["steps"] == 33
    with pytest.raises(TrainingError, match="second_clustering: was made from other parts"):
        train("training.second_round.optimization.steps=33", only=["second_clustering"])


def test_targets_of_other_recordings_are_refused(
    train, corpus_folder, speech_like, tmp_path
) -> None:
    """Or a recording would be trained to name the ids of another."""
    folder = corpus_folder(6, layout="librispeech", speakers=3)
    first = ["codec", "w2v_bert", "clustering", "second_round"]
    places = ("codec", "w2v_bert", "second_round")
    short = [f"training.{place}.optimization.steps=2" for place in places]
    train(*short, out="empty/m", folder=folder, only=first[1:])
    new = folder / "100" / "1" / "100-1-0000b.wav"
    soundfile.write(new, speech_like(1.0, seed=50), 16_000)
    longer = [*short[:2], "training.second_round.optimization.steps=3"]
    with pytest.raises(TrainingError, match=r"second_round: was begun with other recordings.*--re"):
        train(*longer, out="empty/m", folder=folder, only=["second_round"])
    done = tmp_path / "empty/m/training/second_round/done.json"
    content = json.loads(done.read_text())
    del content["inputs"]["recordings"]  # as an earlier version has left it
    done.write_text(json.dumps(content))
    with pytest.raises(CorpusError, match=r"targets/.*tokens of other recordings.*; delete"):
        train(*longer, out="empty/m", folder=folder, only=["second_round"])


def test_clustering_again_does_not_take_the_second_rounds_place(train, tmp_path) -> None:
    train()
    last = semantic(tmp_path / "model")
    train(only=["clustering"], restart=True)
    assert semantic(tmp_path / "model") == last
    train("recipe=[clustering]", only=["clustering"], restart=True)  # a recipe of one round
    assert semantic(tmp_path / "model") != last


def test_without_the_first_tokenizer_the_step_that_makes_it_is_named(train, tmp_path) -> None:
    train("seed=0", only=["w2v_bert"])
    folder = tmp_path / "model" / "training" / "clustering"
    (folder / "model.json").unlink()
    with pytest.raises(TrainingError, match="no tokenizer yet; give --only clustering --restart"):
        train()
    (folder / "done.json").unlink()
    with pytest.raises(TrainingError, match="no tokenizer yet; give --only clustering first"):
        train()


@pytest.mark.parametrize("step", STEPS)
def test_a_preset_without_a_second_round_is_told_so(training_corpus, tmp_path, step) -> None:
    request = TrainingRequest(training_corpus, tmp_path / "m", load_preset("tiny"), only=[step])
    with pytest.raises(ConfigurationError, match="second_round: not in preset tiny; add it, or"):
        train_model(request)
    assert not (tmp_path / "m").exists()


def test_the_small_preset_has_a_second_round_between_clustering_and_tokens() -> None:
    preset = load_preset("small")
    assert preset.recipe[2:6] == ["clustering", *STEPS, "tokens"]
    with torch.device("meta"):
        W2vBert(preset.second_round)


def test_a_further_round_goes_on_from_the_tokenizer_of_another_model(
    train, trained_model, tmp_path
) -> None:
    """Without a clustering of its own, the model to start from is the round before."""
    metrics = train(out="empty/m", start=trained_model, only=STEPS)
    assert metrics["second_round"]["steps"] == 30
    done = json.loads((tmp_path / "empty/m/training/second_round/done.json").read_text())
    assert done["inputs"]["semantic"] == semantic(trained_model)
    assert semantic(tmp_path / "empty/m") != semantic(trained_model)
    with pytest.raises(TrainingError, match="holds no tokenizer yet; give --only clustering"):
        train(out="other/m", only=STEPS)
