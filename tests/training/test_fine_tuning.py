"""`audiolm train --from MODEL`: what is copied, what starts from where, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.audio.files import read
from audiolm.cli.main import main
from audiolm.data.tokens import TokenStore
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.pretrained import load
from audiolm.training import model_parts
from tiny import noise


@pytest.fixture
def train(training_corpus, tmp_path, capsys):
    """`train("--only", ...)`: exit code and stderr of training `tmp_path/mine` a little."""

    def run(*arguments, out: str = "mine", folder: Path = training_corpus) -> tuple[int, str]:
        capsys.readouterr()
        command = ["train", folder, "--out", tmp_path / out, "--preset", "tiny", *arguments]
        code = main([str(word) for word in command])
        return code, capsys.readouterr().err

    return run


def prints(model: Path) -> dict[str, str]:
    return {name: entry.fingerprint for name, entry in read_manifest(model).parts.items()}


def steps(step: str, count: int) -> tuple[str, str]:
    return "--set", f"training.{step}.optimization.steps={count}"


def still(step: str) -> tuple[str, ...]:
    """Settings with which a step learns nothing: what it keeps is what it started from."""
    return *steps(step, 1), "--set", f"training.{step}.optimization.learning_rate=1e-30"


def test_what_no_step_makes_is_copied_and_the_rest_goes_on(
    train, trained_model, corpus_folder, tmp_path
) -> None:
    folder = corpus_folder(6, layout="librispeech", speakers=3, seconds=2.0)
    code, said = train(
        *("--from", trained_model, "--only", "tokens,semantic"),
        *steps("stages.semantic", 2),
        folder=folder,
    )
    assert code == 0
    mine, theirs = prints(tmp_path / "mine"), prints(trained_model)
    changed = {name for name in theirs if mine[name] != theirs[name]}
    assert changed == {"stage_semantic"}  # and the stages that read the same ids came along
    for line in ("codec: copied from", "semantic: copied from", "stage_fine: copied from"):
        assert said.count(line) == 1
    assert f"semantic: starts from the stage_semantic of {trained_model}" in said
    manifest = read_manifest(tmp_path / "mine")
    assert manifest.data["started_from"] == read_manifest(trained_model).name
    assert manifest.data["folder"] == "corpus"
    lm = load(tmp_path / "mine", "cpu")
    assert len(lm.continuation(noise(1.0), 0.4, prompt_seconds=1.0).samples) == 22_400


def test_it_starts_from_the_models_weights(train, trained_model, tmp_path) -> None:
    only = "w2v_bert,clustering,tokens,semantic"
    settings = [*still("w2v_bert"), *still("stages.semantic")]
    assert train("--from", trained_model, "--only", only, *settings)[0] == 0
    copied = {"codec", "stage_fine", "stage_acoustic_only"}  # the coarse one reads other ids
    assert set(prints(tmp_path / "mine")) == {"semantic", "stage_semantic", *copied}
    by_id = {"transformer.embedding.weight", "transformer.heads"}  # and the ids are others now
    for part in ("stage_semantic", "semantic"):
        mine, theirs = load_part(tmp_path / "mine", part), load_part(trained_model, part)
        names = {name for name, _ in theirs.named_parameters()} - by_id
        assert len(names) > 10
        for name in names:
            assert torch.equal(mine.state_dict()[name], theirs.state_dict()[name]), name


def test_stages_take_what_they_knew_of_the_old_ids_to_the_new_ones(
    train, trained_model, tmp_path
) -> None:
    every = ("semantic", "coarse")
    more = ("training.clustering.clusters", *(f"stages.{s}.layout.clusters" for s in every))
    settings = [word for key in more for word in ("--set", f"{key}=20")]
    only = ("--only", "w2v_bert,clustering,tokens,semantic")
    quick = [*still("w2v_bert"), *still("stages.semantic")]
    code, said = train("--from", trained_model, *only, *settings, *quick)
    assert code == 0, said
    assert f"{trained_model}: its semantic ids are others; hearing which became which" in said
    mine, theirs = (load_part(m, "stage_semantic") for m in (tmp_path / "mine", trained_model))
    old = load_part(trained_model, "semantic")
    new = load_part(tmp_path / "mine", "semantic")
    store = TokenStore(tmp_path / "mine" / "training" / "tokens" / "train")
    counts = torch.zeros(new.clusters, old.clusters)
    for index, recording in enumerate(store.recordings):
        samples = read(recording.path, 16_000).samples
        was = old.encode(torch.from_numpy(samples)[None])[0]
        for a, b in zip(store.semantic(index).tolist(), was.tolist(), strict=True):
            counts[a, b] += 1
    met = counts.sum(1) > 0
    assert int(met.sum()) > 10
    shares = counts[met] / counts[met].sum(1, keepdim=True)
    rows = theirs.transformer.embedding.weight[2:-1]  # START, END, the ids, the separator
    assert len(mine.transformer.embedding.weight) == 3 + new.clusters != 3 + old.clusters
    assert torch.allclose(mine.transformer.embedding.weight[2:-1][met], shares @ rows, atol=1e-3)
    again = train("--from", trained_model, *only, *settings, *quick)
    assert again[0] == 0
    assert "hearing which" not in again[1]  # a finished step is not begun again


def test_stages_go_on_with_a_codec_whose_decoder_alone_has_learnt(
    train, trained_model, tmp_path
) -> None:
    tuned = ("--only", "codec", "--set", "training.codec.decoder_only=true", *steps("codec", 3))
    code, said = train("--from", trained_model, *tuned)
    assert code == 0, said
    mine, theirs = prints(tmp_path / "mine"), prints(trained_model)
    assert mine.keys() == theirs.keys()
    assert mine["codec"] != theirs["codec"]
    assert mine["semantic"] == theirs["semantic"]
    before, after = load(trained_model, "cpu"), load(tmp_path / "mine", "cpu")
    sound = noise(1.0)
    waveform = torch.from_numpy(sound.samples)[None]  # (1, T)
    codes = before.codec.encode(waveform)
    assert torch.equal(after.codec.encode(waveform), codes)
    assert not torch.equal(after.codec.decode(codes), before.codec.decode(codes))
    for name, stage in after.stages.items():
        assert stage.config.codec_fingerprint in ("", mine["codec"])
        weights = before.stages[name].state_dict()
        assert all(torch.equal(weight, weights[key]) for key, weight in stage.state_dict().items())
    assert len(after.continuation(sound, 0.4, prompt_seconds=1.0).samples) == 22_400


def test_a_codec_that_starts_from_another_keeps_its_codebooks(train, trained_model, tmp_path):
    assert train("--from", trained_model, "--only", "codec", *steps("codec", 3))[0] == 0
    mine, theirs = load_part(tmp_path / "mine", "codec"), load_part(trained_model, "codec")
    assert torch.equal(mine.quantizer.codebooks, theirs.quantizer.codebooks)
    assert not torch.equal(mine.read.weight, theirs.read.weight)  # the encoder learns
    assert set(prints(tmp_path / "mine")) == {"codec"}  # no stage there is reads its codes


@pytest.fixture
def decoder_only(train, trained_model):
    """`decoder_only(...)`: three steps with the encoder as it is."""

    def run(*arguments, source: Path | None = trained_model):
        given = ("--from", source) if source else ()
        setting = ("--set", "training.codec.decoder_only=true")
        return train(*given, "--only", "codec", *setting, *steps("codec", 3), *arguments)

    return run


def test_only_the_decoder_learns_and_codes_keep_their_meaning(
    decoder_only, trained_model, tmp_path
) -> None:
    assert decoder_only()[0] == 0
    mine, theirs = load_part(tmp_path / "mine", "codec"), load_part(trained_model, "codec")
    waveform = torch.from_numpy(noise(2.0).samples)[None]
    codes = theirs.encode(waveform)
    assert torch.equal(mine.encode(waveform), codes)
    assert torch.equal(mine.embed(codes), theirs.embed(codes))
    assert not torch.allclose(mine.decode(codes), theirs.decode(codes), atol=1e-4)
    log = (tmp_path / "mine" / "training" / "codec" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["kind"] == "validation"
    assert np.isfinite(json.loads(log[-1])["loss"])


def test_a_decoder_needs_a_codec_to_decode(decoder_only, train, trained_model, tmp_path) -> None:
    needs = "audiolm: training.codec.decoder_only: needs a codec to go on from; give --from MODEL\n"
    assert decoder_only(source=None) == (2, needs)
    without = tmp_path / "without"
    train("--only", "w2v_bert,clustering", *steps("w2v_bert", 1), out="without")
    assert decoder_only(source=without) == (2, needs)


def test_resumed_with_and_without_the_model_it_comes_to_the_same(
    decoder_only, trained_model, tmp_path, monkeypatch
) -> None:
    """Once there is a checkpoint, that is what a training goes on from."""
    from audiolm.training.tasks.codec import CodecTask
    from training.resuming import KilledError

    decoder_only()
    whole = prints(tmp_path / "mine")["codec"]
    batch = CodecTask.batch

    def dying(self, step, rank, progress=0.0):
        if step == 2:
            raise KilledError
        return batch(self, step, rank)

    every = ("--set", "training.codec.optimization.checkpoint_seconds=0.000001")
    for source in (trained_model, None):
        monkeypatch.setattr(CodecTask, "batch", dying)
        assert decoder_only(*every, "--restart")[0] == 1
        monkeypatch.setattr(CodecTask, "batch", batch)
        code, said = decoder_only(*every, source=source)
        assert code == 0
        assert "codec: resumed at step 2" in said
        assert "starts from" not in said
        assert prints(tmp_path / "mine")["codec"] == whole


def test_a_training_of_its_own_goes_on_though_a_model_is_named(
    train, trained_model, tmp_path
) -> None:
    """Its checkpoint holds the codebooks' moving averages, which an exported codec has not."""
    assert train("--only", "codec", *steps("codec", 2))[0] == 0
    code, said = train("--from", trained_model, "--only", "codec", *steps("codec", 4))
    assert (code, "codec: resumed at step 2" in said) == (0, True)
    codec = load_part(tmp_path / "mine", "codec")
    assert not torch.equal(
        codec.quantizer.codebooks, load_part(trained_model, "codec").quantizer.codebooks
    )


@pytest.mark.parametrize(
    ("only", "setting", "says"),
    [
        ("codec", "codec.width=48", "codec is built otherwise: width 32 (the preset: 48); give"),
        (
            "w2v_bert",
            "w2v_bert.conformer.kernel=3",
            "semantic is built otherwise: kernel 5 (the preset: 3); give",
        ),
        (
            "tokens,semantic",
            "stages.semantic.transformer.width=48",
            "stage_semantic is built otherwise: transformer.width 32 (the preset: 48); give",
        ),
    ],
)
def test_a_model_of_other_sizes_is_one_line(train, trained_model, only, setting, says) -> None:
    code, said = train("--from", trained_model, "--only", only, "--set", setting, "--quiet")
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith(f"audiolm: --from {trained_model}: ")
    assert says in said


def test_a_folder_that_is_no_model_is_told_before_anything_is_done(train, tmp_path) -> None:
    (tmp_path / "letters").mkdir()
    code, said = train("--from", tmp_path / "letters", "--only", "w2v_bert")
    assert (code, said.count("\n")) == (2, 1)
    assert "letters: not a model folder" in said
    assert not (tmp_path / "mine").exists()


def test_a_copy_holds_the_very_numbers_that_were_stored(train, tmp_path) -> None:
    """However the model is stored: rounding a codec would change the codes it makes."""
    from tiny import tiny_model

    for dtype in ("float32", "float16", "int8"):
        model = tiny_model(kinds=())
        if dtype == "float32":
            with torch.no_grad():
                model.codec.read.weight.add_(1e-7)
        elif dtype == "int8":
            model.codec.rounded("int8")
            model.semantic.rounded("int8")
        model.save(tmp_path / dtype, dtype)
        only = ("--only", "tokens", "--set", "recipe=[tokens]")
        assert train("--from", tmp_path / dtype, *only, out=f"of {dtype}")[0] == 0
        assert prints(tmp_path / f"of {dtype}") == prints(tmp_path / dtype)
        copied, stored = (
            (tmp_path / name / "codec.safetensors").stat().st_size
            for name in (f"of {dtype}", dtype)
        )
        assert copied == stored


def test_every_process_goes_by_what_the_first_one_sees(
    trained_model, training_corpus, tmp_path, monkeypatch
) -> None:
    """It may have copied a part before another looks: both must wait for each other equally."""
    from audiolm.training.distributed import World
    from audiolm.training.model_parts import ModelParts

    cpu = torch.device("cpu")
    parts = ModelParts(tmp_path / "m", trained_model, lambda: {"data": {}}, World(), cpu, print)
    parts.part("codec", "codec")  # it is there now
    waited = []
    parts.world = World(1, 2)
    monkeypatch.setattr(model_parts.distributed, "agree", lambda value, *_: 0.0)
    monkeypatch.setattr(model_parts.distributed, "wait", waited.append)
    parts.part("codec", "codec")
    assert waited == [parts.world]
