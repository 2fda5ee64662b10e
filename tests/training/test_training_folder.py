"""The training folder and the recordings: what is used, what is left out, what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.data.corpus import open_corpus
from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError, CorpusError, TrainingError
from audiolm.model_io.manifest import read_manifest
from audiolm.training.distributed import World
from audiolm.training.plan import make_context
from audiolm.training.preset import load_preset
from audiolm.training.recipe import STEPS, TrainingRequest, seed_of, train_model
from audiolm.training.steps.step import Context
from audiolm.training.training_folder import training_folder
from training.toy import SECOND_ROUND


def opened(folder: Path, out: Path, *settings: str) -> Context:
    """What the steps of a training are given."""
    preset = load_preset("tiny", settings)
    request = TrainingRequest(folder, out, preset, quiet=True)
    with training_folder(out, preset, World()) as place:
        return make_context(request, STEPS, [], place, World())


def test_files_that_cannot_be_read_are_left_out_counted_and_listed(
    corpus_folder, tmp_path, capsys
) -> None:
    folder = corpus_folder(5)
    (folder / "noise.wav").write_bytes(b"RIFF, but not quite")
    (folder / "empty.flac").write_bytes(b"")
    whole = folder / "003.wav"
    broken = bytearray(whole.read_bytes())
    whole.write_bytes(broken[: len(broken) // 2])
    train, validation = opened(folder, tmp_path / "model").recordings
    assert len(train) + len(validation) == 4
    said = capsys.readouterr().err
    assert said.startswith(
        "recordings: warning: 3 files cannot be read and are left out, listed in"
    )
    assert said.count("\n") == 1
    listed = (tmp_path / "model" / "training" / "skipped.txt").read_text().splitlines()
    assert len(listed) == 3
    for name in ("noise.wav", "empty.flac", "003.wav"):
        assert any(name in line for line in listed)


def test_files_whose_content_is_broken_are_left_out_as_well(
    corpus_folder, tmp_path, capsys, monkeypatch
) -> None:
    """A header may promise what the rest does not hold: that shows when it is decoded."""
    from audiolm.data import store
    from audiolm.errors import AudioError

    original = store.read

    def read(path, rate):
        if path.name == "002.wav":
            raise AudioError(f"{path}: holds NaN; record it again")
        return original(path, rate)

    monkeypatch.setattr(store, "read", read)
    train, validation = opened(corpus_folder(5), tmp_path / "model").recordings
    assert len(train) + len(validation) == 4
    assert "1 files cannot be read" in capsys.readouterr().err


def broken_content(path: Path) -> None:
    """A FLAC whose header is whole, and whose second half is noise."""
    samples, rate = soundfile.read(path.with_suffix(".wav"))
    path.with_suffix(".wav").unlink()
    soundfile.write(path, samples, rate)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half:] = np.random.default_rng(0).bytes(len(data) - half)
    path.write_bytes(data)


@pytest.mark.parametrize("pack", [True, False])
def test_a_whole_header_before_broken_content_is_left_out(
    corpus_folder, tmp_path, capsys, pack
) -> None:
    folder = corpus_folder(6)
    broken_content(folder / "002.flac")
    assert len(open_corpus(folder).recordings) == 6  # by their headers, all can be read
    train, validation = opened(folder, tmp_path / "model", f"data.pack={pack}").recordings
    assert len(train) + len(validation) == 5
    assert "1 files cannot be read and are left out" in capsys.readouterr().err
    (line,) = (tmp_path / "model" / "training" / "skipped.txt").read_text().splitlines()
    assert "002.flac" in line
    for step in range(4):  # every second of every recording can be drawn
        assert train.batch(step, 0, 4, 0.5)[0].abs().amax(1).min() > 0


def test_unpacked_a_broken_file_does_not_stop_a_training(corpus_folder, tmp_path, capsys) -> None:
    folder = corpus_folder(6)
    broken_content(folder / "002.flac")
    places = ("training.codec", "training.w2v_bert")
    preset = load_preset(
        "tiny",
        [
            "data.pack=false",
            *(f"{place}.optimization.steps=2" for place in places),
            "training.codec.optimization.batch_size=16",  # every recording is drawn
            "recipe=[codec, w2v_bert, clustering, tokens]",
        ],
    )
    metrics = train_model(TrainingRequest(folder, tmp_path / "model", preset, quiet=True))["steps"]
    assert metrics["codec"]["steps"] == 2
    assert capsys.readouterr().err.count("files cannot be read") == 1
    tokens = TokenStore(tmp_path / "model" / "training" / "tokens" / "train")
    assert "002" not in {recording.id for recording in tokens.recordings}


def test_copies_at_speeds_are_trained_on_and_do_not_judge(corpus_folder, tmp_path) -> None:
    preset = load_preset(
        "tiny",
        [
            "training.tokens.speed_perturbation=[0.8, 1.25]",
            *(f"training.{name}.optimization.steps=1" for name in ("codec", "w2v_bert")),
            "recipe=[codec, w2v_bert, clustering, tokens]",
        ],
    )
    train_model(TrainingRequest(corpus_folder(6), tmp_path / "model", preset, quiet=True))
    folder = tmp_path / "model" / "training" / "tokens"
    train, validation = (TokenStore(folder / name) for name in ("train", "validation"))
    copies = [r.id.partition(" at ")[2] for r in train.recordings]
    assert (
        copies == sorted(copies) and copies.count("0.8") == copies.count("1.25") == len(copies) / 3
    )
    assert not any(" at " in recording.id for recording in validation.recordings)


def test_a_semantic_stage_alone_needs_no_codec(corpus_folder, tmp_path) -> None:
    preset = load_preset(
        "tiny",
        [
            "training.w2v_bert.optimization.steps=1",
            "training.stages.semantic.optimization.steps=2",
            "recipe=[w2v_bert, clustering, tokens, semantic]",
        ],
    )
    model = tmp_path / "model"
    metrics = train_model(TrainingRequest(corpus_folder(6), model, preset, quiet=True))["steps"]
    assert metrics["semantic"]["steps"] == 2
    assert TokenStore(model / "training" / "tokens" / "train").format.codec_fingerprint == ""
    assert sorted(read_manifest(model).parts) == ["semantic", "stage_semantic"]


def test_nothing_is_said_where_all_files_can_be_read(training_corpus, tmp_path, capsys) -> None:
    opened(training_corpus, tmp_path / "model")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "model" / "training" / "skipped.txt").exists()


def test_speakers_are_on_one_side_only(training_corpus, tmp_path) -> None:
    train, validation = opened(training_corpus, tmp_path / "model").recordings
    speakers = [{r.speaker for r in side.store.recordings} for side in (train, validation)]
    assert speakers[0] and speakers[1] and not speakers[0] & speakers[1]


def test_a_folder_to_validate_on_takes_the_place_of_a_share(
    training_corpus, corpus_folder, tmp_path
) -> None:
    other = corpus_folder(2, name="other")
    train, validation = opened(
        training_corpus, tmp_path / "model", f"data.validation={other}"
    ).recordings
    assert (len(train), len(validation)) == (10, 2)


@pytest.mark.parametrize("pack", [True, False])
def test_packed_or_not_training_sees_the_same(training_corpus, tmp_path, pack) -> None:
    place = opened(training_corpus, tmp_path / "model", f"data.pack={pack}")
    train, _ = place.recordings
    assert train.batch(0, 0, 2, 0.5)[0].shape == (2, 8000)
    samples = place.folder / "recordings" / "train" / "samples.int16"
    assert (samples.stat().st_size > 0) == pack


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "there is no such folder"),
        (lambda folder: folder.mkdir(), "there are no recordings in it"),
        (
            lambda folder: (folder.mkdir(), (folder / "a.wav").write_bytes(b"no")),
            "none of its 1 files can be read",
        ),
    ],
)
def test_no_recordings_are_told_at_once(tmp_path, make, says) -> None:
    make(tmp_path / "empty")
    request = TrainingRequest(
        tmp_path / "empty", tmp_path / "model", load_preset("tiny"), quiet=True
    )
    with pytest.raises(CorpusError, match=says):
        train_model(request)


def test_a_single_recording_leaves_none_to_judge_by(corpus_folder, tmp_path) -> None:
    with pytest.raises(CorpusError, match=r"single speaker or recording.*--validation"):
        opened(corpus_folder(1), tmp_path / "model")


def test_a_folder_of_something_else_is_not_written_into(training_corpus, tmp_path) -> None:
    out = tmp_path / "letters"
    out.mkdir()
    (out / "letter.txt").write_text("Dear Ada")
    with pytest.raises(TrainingError, match=r"letters: is not empty and not a model; name a new"):
        opened(training_corpus, out)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_a_file_in_place_of_the_model_folder_is_told(training_corpus, tmp_path) -> None:
    out = tmp_path / "model"
    out.write_text("")
    with pytest.raises(TrainingError, match=r"model: cannot be written \(Not a directory\)"):
        opened(training_corpus, out)


def test_a_folder_whose_name_is_no_utf8_is_refused_at_once(training_corpus, tmp_path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(TrainingError, match=r"caf\\xe9: is no name in UTF-8; name another"):
        opened(training_corpus, out)
    assert not out.exists()


def test_an_empty_folder_becomes_a_model_folder(training_corpus, tmp_path) -> None:
    (tmp_path / "model").mkdir()
    place = opened(training_corpus, tmp_path / "model")
    assert (place.folder / "preset.json").exists()
    opened(training_corpus, tmp_path / "model")  # and may be gone on with


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ("clustering", r"checkpoint\.pt: is not there yet; give --only w2v_bert first"),
        ("tokens", "there is no codec in it yet; give --only codec first"),
        (
            "semantic",
            "there is no semantic tokenizer in it yet; give --only w2v_bert,clustering first",
        ),
        ("coarse", "there is no codec in it yet; give --only codec first"),
    ],
)
def test_steps_out_of_order_name_the_step_that_is_missing(training_corpus, tmp_path, only, says):
    request = TrainingRequest(
        training_corpus, tmp_path / "m", load_preset("tiny"), only=[only], quiet=True
    )
    with pytest.raises(TrainingError, match=says):
        train_model(request)


def test_a_stage_needs_finished_tokens(trained_model, training_corpus, tmp_path) -> None:
    import shutil

    model = shutil.copytree(trained_model, tmp_path / "model")
    (model / "training" / "tokens" / "done.json").unlink()
    request = TrainingRequest(
        training_corpus, model, load_preset("tiny"), only=["fine"], restart=True
    )
    with pytest.raises(TrainingError, match=r"tokens: not finished; give --only tokens first"):
        train_model(request)


def test_a_missing_tokenizer_names_all_the_steps_that_make_it(training_corpus, tmp_path) -> None:
    preset = load_preset("tiny", SECOND_ROUND)
    request = TrainingRequest(training_corpus, tmp_path / "m", preset, only=["semantic"])
    every = "w2v_bert,clustering,second_round,second_clustering"
    with pytest.raises(TrainingError, match=f"tokenizer in it yet; give --only {every} first"):
        train_model(request)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_a_second_training_in_one_folder_is_refused(corpus_folder, tmp_path) -> None:
    preset = load_preset("tiny", ["training.codec.optimization.steps=1", "recipe=[codec]"])
    request = TrainingRequest(corpus_folder(6), tmp_path / "m", preset, quiet=True)
    with training_folder(tmp_path / "m", preset, World()) as folder:
        says = rf"m: another training is at work in it \(process {os.getpid()}\); wait for its end"
        with pytest.raises(TrainingError, match=says):
            train_model(request)
        assert not (folder / "codec").exists()
    train_model(request)  # the lock has fallen
    with pytest.raises(ZeroDivisionError), training_folder(tmp_path / "m", preset, World()):
        raise ZeroDivisionError
    train_model(request)


def test_batches_that_processes_cannot_share_are_refused(training_corpus, tmp_path) -> None:
    place = "training.stages.coarse.optimization"
    preset = load_preset("tiny", [f"{place}.accumulate=3"])
    request = TrainingRequest(training_corpus, tmp_path / "m", preset, quiet=True)
    with pytest.raises(ConfigurationError, match=rf"{place}\.batch_size: 4 crops cannot be"):
        train_model(request)
    assert not (tmp_path / "m" / "training" / "codec").exists()  # before hours of other steps


def one_step(folder: Path, out: Path, steps: int, **changes) -> dict:
    """Train a codec for so many steps."""
    place = "training.codec.optimization"
    settings = [f"{place}.steps={steps}", f"{place}.checkpoint_seconds=1e-9", "recipe=[codec]"]
    request = TrainingRequest(folder, out, load_preset("tiny", settings), quiet=True, **changes)
    return train_model(request)["steps"]["codec"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"a": 1}', "null"])
def test_a_broken_done_is_none_and_the_step_is_finished_again(
    corpus_folder, tmp_path, content
) -> None:
    out, folder = tmp_path / "m", corpus_folder(6)
    metrics = one_step(folder, out, 3)
    done = out / "training" / "codec" / "done.json"
    done.write_text(content)
    again = one_step(folder, out, 3)
    assert again["loss"] == metrics["loss"]
    assert json.loads(done.read_text())["metrics"]["steps"] == 3


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_broken_settings_are_told_with_the_remedy(corpus_folder, tmp_path, content) -> None:
    out, folder = tmp_path / "m", corpus_folder(6)
    one_step(folder, out, 3)
    settings = out / "training" / "codec" / "settings.json"
    settings.write_text(content)
    with pytest.raises(TrainingError, match=r"settings\.json: is empty or broken; delete it if"):
        one_step(folder, out, 4)
    one_step(folder, out, 4, restart=True)
    settings.write_text(content)
    settings.unlink()
    assert one_step(folder, out, 5)["steps"] == 5


def test_a_broken_checkpoint_gives_way_to_the_one_before(corpus_folder, tmp_path, capsys) -> None:
    out, folder = tmp_path / "m", corpus_folder(6)
    one_step(folder, out, 3)
    checkpoint = out / "training" / "codec" / "checkpoint.pt"
    checkpoint.write_bytes(b"")
    assert one_step(folder, out, 4)["steps"] == 4
    assert "checkpoint.pt: cannot be read; going on from the checkpoint" in capsys.readouterr().err
    for path in checkpoint.parent.glob("checkpoint*.pt"):
        path.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"not a checkpoint.*--only codec --restart"):
        one_step(folder, out, 5)
    assert one_step(folder, out, 5, restart=True)["steps"] == 5


def test_recordings_that_changed_between_two_runs_are_noticed(corpus_folder, tmp_path) -> None:
    out, folder = tmp_path / "m", corpus_folder(6)
    one_step(folder, out, 2)
    (path, *_) = sorted(folder.glob("*.wav"))
    samples, rate = soundfile.read(path)
    os.utime(path)  # the same recording, copied
    assert one_step(folder, out, 3)["steps"] == 3
    soundfile.write(path, samples[::-1], rate)
    for only in (2, 4):  # done, and to be gone on with
        with pytest.raises(TrainingError, match="codec: was begun with other recordings than are"):
            one_step(folder, out, only)
    soundfile.write(path, samples, rate)
    assert one_step(folder, out, 4)["steps"] == 4
    moved = folder.rename(tmp_path / "elsewhere")
    assert one_step(moved, out, 5)["steps"] == 5


def test_each_step_and_each_process_begins_with_random_numbers_of_its_own() -> None:
    seeds = {seed_of(step, seed, rank) for step in STEPS for seed in (0, 1) for rank in (0, 1)}
    assert len(seeds) == 4 * len(STEPS)
    assert seed_of(STEPS[0], 0, 0) == 15793235383387715774  # and the same in every version
