"""Starting from weights that are there: of a model's part, or of an earlier round."""

import pytest
import torch
from torch import nn

from audiolm.codec import SpectralConfig, build_codec, exported
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.model_io.folder import load_part, save_part
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
from audiolm.stages import AutoregressiveStage
from audiolm.training.initialisation import start_conformer, start_from
from tiny import K, noise, tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(lm, tmp_path_factory):
    """The tiny model's folder."""
    out = tmp_path_factory.mktemp("start") / "tiny"
    lm.save(out)
    return out


def w2v_bert(conformer, **changes) -> W2vBert:
    """A network with a Conformer like that of `conformer`, but for the changes."""
    config = conformer.model_copy(update={"dropout": 0.1, **changes})
    return W2vBert(W2vBertConfig(conformer=config, contrastive_layers=1))


def refused(folder, part: str, network: nn.Module) -> str:
    """What is said of a part that does not fit: one line."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ConfigurationError) as error:
        start_from(folder, part, network)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"--from {folder}: {part} is built otherwise: ")
    assert str(error.value).endswith("give the preset it was trained with, or set these")
    assert before.keys() == network.state_dict().keys() or part == "codec"
    return str(error.value)


def test_a_codec_starts_with_the_same_codes_and_goes_on_learning(lm, folder) -> None:
    codec = build_codec(lm.codec.config)
    start_from(folder, "codec", codec)
    waveform = torch.from_numpy(noise(1.0).samples)[None]
    assert torch.equal(codec.eval().encode(waveform), lm.codec.encode(waveform))
    assert codec.quantizer.training_state is None  # nothing moves the codebooks
    assert all(parameter.requires_grad for parameter in codec.parameters())
    codec.train()(waveform).waveform.sum().backward()
    assert torch.equal(codec.quantizer.codebooks, lm.codec.quantizer.codebooks)


def test_a_decoder_may_gain_a_harmonic_excitation(tmp_path) -> None:
    config = SpectralConfig(width=16, encoder_blocks=1, decoder_blocks=1, refine_width=8, dim=8)
    save_part(tmp_path / "plain", "codec", exported(build_codec(config)), dtype="float32")
    plain = load_part(tmp_path / "plain", "codec")
    codec = build_codec(config.model_copy(update={"harmonic": True}))
    start_from(tmp_path / "plain", "codec", codec)
    assert codec.codes_fingerprint() == plain.codes_fingerprint()
    torch.testing.assert_close(codec.write.weight, plain.write.weight)


def test_w2v_bert_starts_from_the_layers_of_the_tokenizer(lm, folder) -> None:
    torch.manual_seed(7)
    network = w2v_bert(lm.semantic.config.conformer, layers=3)
    last = {name: p.clone() for name, p in network.conformer.blocks[2].named_parameters()}
    start_from(folder, "semantic", network)
    waveform = torch.from_numpy(noise(2.0).samples)[None]
    ours, theirs = network.features(waveform, layer=2), lm.semantic.features(waveform)
    assert torch.allclose(ours, theirs, atol=1e-5)
    for name, parameter in network.conformer.blocks[2].named_parameters():
        assert torch.equal(parameter, last[name])  # begins anew


def test_a_stage_starts_with_the_same_predictions(lm, folder) -> None:
    stage = AutoregressiveStage(lm.stages["coarse"].config)
    start_from(folder, "stage_coarse", stage)
    for name, tensor in lm.stages["coarse"].state_dict().items():
        assert torch.equal(stage.state_dict()[name], tensor), name


def test_a_codec_of_other_sizes_is_told_by_its_settings(folder, lm) -> None:
    config = lm.codec.config.model_copy(update={"width": 24, "dim": 12})
    said = refused(folder, "codec", build_codec(config))
    assert "dim 8 (the preset: 12), width 16 (the preset: 24); give" in said


def test_another_kind_of_codec_is_told(folder) -> None:
    from audiolm.codec import SoundStreamConfig

    said = refused(folder, "codec", build_codec(SoundStreamConfig(channels=2, dim=8)))
    assert "kind spectral (the preset: soundstream)" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 32}, "built otherwise: width 16 (the preset: 32); give"),
        ({"kernel": 5}, "built otherwise: kernel 3 (the preset: 5); give"),
    ],
)
def test_a_conformer_of_other_sizes_is_told(folder, lm, changes, says) -> None:
    said = refused(folder, "semantic", w2v_bert(lm.semantic.config.conformer, **changes))
    assert says in said


def test_fewer_layers_than_the_tokenizer_kept_are_told(lm) -> None:
    more = lm.semantic.config.conformer.model_copy(update={"layers": 4})
    network = W2vBert(W2vBertConfig(conformer=more, contrastive_layers=1))
    from audiolm.semantic import W2vBertTokenizer

    zeros = torch.zeros(16)
    tokenizer = W2vBertTokenizer.from_network(network, 3, zeros, zeros + 1, torch.zeros(8, 16))
    with pytest.raises(ConfigurationError, match=r"here is built .*layers 3 \(the preset: 2\)"):
        start_conformer(w2v_bert(lm.semantic.config.conformer), tokenizer, "here")


@pytest.mark.parametrize("other", ["prefix", "aligned"])
def test_a_stage_of_another_layout_is_told_where_ids_are_new_as_well(tmp_path, other) -> None:
    ways = {"prefix", "aligned"}
    (theirs,) = ways - {other}
    given = tiny_model(kinds=("coarse",), conditioning=theirs, remove_repeats=False)
    given.save(tmp_path / "given")
    layout = given.stages["coarse"].config.layout.model_copy(update={"conditioning": other})
    stage = AutoregressiveStage(given.stages["coarse"].config.model_copy(update={"layout": layout}))
    with pytest.raises(ConfigurationError) as error:
        start_from(tmp_path / "given", "stage_coarse", stage, torch.eye(K))
    assert f"conditioning {theirs} (the preset: {other})" in str(error.value)


def test_a_stage_of_other_sizes_is_told_and_no_fingerprints_are(folder, lm) -> None:
    config = lm.stages["fine"].config
    wider = config.transformer.model_copy(update={"feed_forward": 64})
    changes = {"transformer": wider, "codec_fingerprint": "other", "semantic_rate": 3.0}
    said = refused(folder, "stage_fine", AutoregressiveStage(config.model_copy(update=changes)))
    assert "otherwise: transformer.feed_forward 32 (the preset: 64); give" in said


def test_a_part_that_is_not_there_is_told(folder, lm) -> None:
    stage = AutoregressiveStage(lm.stages["fine"].config)
    with pytest.raises(ModelFolderError, match="the model has no part stage_acoustic_only"):
        start_from(folder, "stage_acoustic_only", stage)


def test_the_global_generator_is_left_alone(folder, lm) -> None:
    """So that a training that resumes draws what the first one would have."""
    codec = build_codec(SpectralConfig(**lm.codec.config.model_dump()))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    start_from(folder, "codec", codec)
    assert torch.equal(torch.rand(2), expected)
    assert load_part(folder, "codec").fingerprint() == lm.codec.fingerprint()
