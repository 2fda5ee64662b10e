"""A model folder: round trips, one part at a time, and every way in which it can be broken."""

import json
from pathlib import Path

import pytest
import torch

from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.model_io.folder import count_parameters, load_part, save_part, save_parts
from audiolm.model_io.manifest import FORMAT_VERSION, ModelInfo, read_manifest
from audiolm.stages import (
    AutoregressiveConfig,
    AutoregressiveStage,
    LayoutConfig,
    TransformerConfig,
)
from tiny import noise, tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model()


@pytest.fixture
def folder(lm, tmp_path) -> Path:
    lm.save(tmp_path / "model")
    return tmp_path / "model"


def wide_stage() -> AutoregressiveStage:
    """A stage whose matrices have rows long enough for eight bits."""
    transformer = TransformerConfig(layers=1, heads=2, width=128, feed_forward=256)
    layout = LayoutConfig(kind="fine", codebook_size=32, coarse_levels=2, levels=4)
    torch.manual_seed(0)
    return AutoregressiveStage(
        AutoregressiveConfig(layout=layout, transformer=transformer, context_seconds=1.0)
    )


# ---- round trips ---------------------------------------------------------------------------------


def test_every_part_comes_back_as_it_was(lm, folder):
    for name, part in lm.parts.items():
        loaded = load_part(folder, name)
        assert (
            loaded.fingerprint()
            == part.fingerprint()
            == read_manifest(folder).parts[name].fingerprint
        )
        assert loaded.config == part.config
        assert not loaded.training
        assert all(t.dtype == torch.float32 for t in loaded.parameters())


def test_the_folder_holds_what_the_format_says(lm, folder):
    files = {path.name for path in folder.iterdir()}
    assert files == {"model.json"} | {f"{name}.safetensors" for name in lm.parts}
    data = json.loads((folder / "model.json").read_text())
    assert data["format_version"] == FORMAT_VERSION == 1
    assert data["name"] == "tiny"
    assert data["sample_rate"] == 16_000
    assert data["parts"]["codec"]["kind"] == "spectral"
    assert data["parts"]["stage_coarse"]["kind"] == "coarse"
    assert data["parts"]["stage_coarse"]["file"] == "stage_coarse.safetensors"


def test_weights_take_two_bytes_each(lm, folder):
    entry = read_manifest(folder).parts["stage_coarse"]
    parameters = sum(t.numel() for t in lm.stages["coarse"].state_dict().values())
    assert count_parameters(folder, entry) == parameters
    assert (folder / entry.file).stat().st_size < 2 * parameters + 10_000


def test_parts_are_added_one_by_one_and_the_rest_is_kept(lm, tmp_path):
    folder = tmp_path / "made" / "here"
    (folder / "training").mkdir(parents=True)
    save_part(folder, "codec", lm.codec, {"licence": "CC0", "preset": {"name": "tiny"}})
    stored = save_part(folder, "semantic", lm.semantic, {"made_by": "abc"})
    manifest = read_manifest(folder)
    assert list(manifest.parts) == ["codec", "semantic"]
    assert manifest.name == "here"
    assert manifest.info == ModelInfo(licence="CC0", preset={"name": "tiny"}, made_by="abc")
    assert stored == lm.semantic.fingerprint() == manifest.parts["semantic"].fingerprint


def test_a_part_is_replaced(lm, folder):
    other = tiny_model(seed=1)
    save_part(folder, "codec", other.codec)
    assert load_part(folder, "codec").fingerprint() == other.codec.fingerprint()
    assert set(read_manifest(folder).parts) == set(lm.parts)


def test_saving_leaves_the_part_alone_and_tells_the_stored_fingerprint(tmp_path):
    stage = tiny_model().stages["fine"]
    with torch.no_grad():
        next(stage.parameters()).add_(1e-5)  # not a float16
    before = stage.fingerprint()
    stored = save_part(tmp_path / "model", "stage_fine", stage)
    assert stage.fingerprint() == before != stored
    assert load_part(tmp_path / "model", "stage_fine").fingerprint() == stored
    exact = save_part(tmp_path / "model", "stage_fine", stage, dtype="float32")
    assert exact == before


def test_its_files_are_as_readable_as_any_other(folder, tmp_path):
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in [*folder.iterdir(), tmp_path / "plain"]}
    assert len(modes) == 1


def test_eight_bits_are_kept_whatever_is_asked_later(tmp_path):
    """A part in eight bits is stored so by default too, and is what it was before it was stored."""
    stage = wide_stage()
    plain = save_part(tmp_path / "plain", "stage_fine", stage)
    asked = save_part(tmp_path / "asked", "stage_fine", stage, dtype="int8")
    rounded = stage.rounded("int8")
    for dtype in ("float16", "float32"):
        assert save_part(tmp_path / dtype, "stage_fine", rounded, dtype=dtype) == asked != plain
        loaded = load_part(tmp_path / dtype, "stage_fine")
        assert loaded.fingerprint() == rounded.fingerprint() == asked
    sizes = {
        name: read_manifest(tmp_path / name).parts["stage_fine"].bytes
        for name in ("plain", "asked", "float16", "float32")
    }
    assert sizes["asked"] == sizes["float16"] == sizes["float32"] < 0.6 * sizes["plain"]
    counts = [
        count_parameters(tmp_path / name, read_manifest(tmp_path / name).parts["stage_fine"])
        for name in ("plain", "asked")
    ]
    assert counts[0] == counts[1]


def test_eight_bits_change_a_stage_little(tmp_path):
    stage = wide_stage()
    before = {key: tensor.clone() for key, tensor in stage.state_dict().items()}
    for key, tensor in stage.rounded("int8").state_dict().items():
        error = (tensor - before[key]).square().mean()
        assert error <= 1e-4 * before[key].square().mean(), key


def test_loading_leaves_the_global_generator_alone(folder):
    before = torch.get_rng_state()
    load_part(folder, "stage_coarse")
    assert torch.equal(torch.get_rng_state(), before)


# ---- what is never overwritten -------------------------------------------------------------------


def test_saving_over_a_model_keeps_other_files(lm, folder):
    (folder / "MODEL_CARD.md").write_text("mine")
    (folder / "training").mkdir()
    other = tiny_model(kinds=("semantic", "coarse"))
    other.save(folder)
    assert (folder / "MODEL_CARD.md").read_text() == "mine"
    assert (folder / "training").is_dir()
    assert not (folder / "stage_fine.safetensors").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_saving_into_something_else_is_refused(lm, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("long work")
    with pytest.raises(ModelFolderError, match=r"thesis: is not empty and not a model"):
        lm.save(tmp_path / "thesis")
    with pytest.raises(ModelFolderError, match=r"chapter\.tex: is a file"):
        lm.save(tmp_path / "thesis" / "chapter.tex")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "long work"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_folder_may_be_saved_into(lm, tmp_path):
    (tmp_path / "new").mkdir()
    lm.save(tmp_path / "new")
    assert read_manifest(tmp_path / "new").name == "tiny"


def test_a_failed_save_leaves_the_old_model(folder):
    before = (folder / "model.json").read_text()
    broken = tiny_model(seed=1)
    with torch.no_grad():
        next(broken.stages["fine"].parameters()).fill_(1e9)
    with pytest.raises(ModelFolderError, match=r"stage_fine: .* not finite as float16"):
        broken.save(folder)
    assert (folder / "model.json").read_text() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_rounding_a_codec_away_from_its_stages_is_refused(tmp_path):
    lm = tiny_model()
    with torch.no_grad():
        next(lm.codec.parameters()).add_(1e-5)
    stage = lm.stages["coarse"]
    stage.config = stage.config.model_copy(update={"codec_fingerprint": lm.codec.fingerprint()})
    parts = {"codec": lm.codec, "stage_coarse": stage}
    with pytest.raises(ModelFolderError, match="save with dtype='float32'"):
        save_parts(tmp_path / "model", parts)
    assert not (tmp_path / "model").exists()
    save_parts(tmp_path / "model", parts, dtype="float32")
    assert load_part(tmp_path / "model", "codec").fingerprint() == lm.codec.fingerprint()


def test_unknown_facts_are_refused(lm, tmp_path):
    with pytest.raises(ConfigurationError, match="unknown key license; did you mean licence"):
        save_part(tmp_path / "model", "codec", lm.codec, {"license": "MIT"})


# ---- what is refused when read -------------------------------------------------------------------


def test_a_part_that_is_not_listed(folder):
    with pytest.raises(ModelFolderError, match=r"no part stage_acoustic_only .it has: codec, sem"):
        load_part(folder, "stage_acoustic_only")


def test_a_missing_file_is_named(folder):
    (folder / "codec.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: is missing"):
        load_part(folder, "codec")


@pytest.mark.parametrize("name", ["codec", "stage_fine"])
def test_a_truncated_file_is_named_with_its_sizes(folder, name):
    path = folder / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    expected = (
        rf"{name}\.safetensors: is truncated, {len(whole) - 100} bytes, expected {len(whole)}"
    )
    with pytest.raises(ModelFolderError, match=expected):
        load_part(folder, name)
    with pytest.raises(ModelFolderError, match=expected):
        count_parameters(folder, read_manifest(folder).parts[name])


def test_an_altered_weight_is_found(folder):
    path = folder / "codec.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    expected = read_manifest(folder).parts["codec"].fingerprint
    with pytest.raises(ModelFolderError, match=rf"codec\.safetensors: was altered.*{expected}"):
        load_part(folder, "codec")


def test_an_altered_header_is_found(folder):
    path = folder / "codec.safetensors"
    data = bytearray(path.read_bytes())
    data[8:40] = b"x" * 32
    path.write_bytes(data)
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: was altered"):
        load_part(folder, "codec")


def test_an_altered_setting_is_found(folder):
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    manifest["parts"]["stage_coarse"]["config"]["context_seconds"] = 99.0
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelFolderError, match=r"stage_coarse\.safetensors: was altered"):
        load_part(folder, "stage_coarse")


def test_a_part_from_another_place_is_found(folder):
    (folder / "codec.safetensors").write_bytes((folder / "semantic.safetensors").read_bytes())
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: is (altered|truncated)"):
        load_part(folder, "codec")


def test_a_loaded_model_sounds_the_same(lm, folder):
    loaded = {name: load_part(folder, name) for name in lm.parts}
    again = type(lm)(
        loaded["codec"],
        loaded["semantic"],
        {kind: loaded[f"stage_{kind}"] for kind in lm.stages},
    )
    a, b = (model.continuation(noise(1.0), 0.5, seed=3) for model in (lm, again))
    assert (a.samples == b.samples).all()
