"""Presets: what is in the package, what is refused, and that `paper` is the paper's."""

import json

import pytest
import torch
from torch import nn

from audiolm.codec import build_codec, exported
from audiolm.errors import ConfigurationError
from audiolm.model_io.folder import save_part
from audiolm.semantic import W2vBertTokenizer, W2vBertTokenizerConfig
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.stages import build_stage
from audiolm.training.preset import Preset, load_preset, preset_names
from audiolm.training.recipe import STEPS
from training.toy import SECOND_ROUND

SECOND = "training.second_clustering"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_of_the_package_is_valid_and_complete(name) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert list(preset.recipe) == [step.name for step in STEPS if step.name in preset.recipe]
    for step in preset.recipe:
        if step in preset.stages:
            assert preset.stages[step].layout.kind == step
            crop = preset.training.stages[step].crop_seconds
            assert crop <= preset.stages[step].context_seconds


def test_the_package_has_these_presets() -> None:
    assert {"paper", "small", "tiny", "paper-piano", "small-piano"} <= set(preset_names())


def test_the_papers_networks_have_the_papers_sizes() -> None:
    """Built without memory, counted exactly.

    w2v-BERT XL is stated as 0.6 B. The stages are stated as 0.3 B each; the dimensions stated
    beside it (12 layers, width 1024, feed-forward 4096: 12 x (4 x 1024² + 2 x 1024 x 4096) = 151 M)
    do not give that, whatever the embeddings: this follows the dimensions.
    """
    preset = load_preset("paper")
    with torch.device("meta"):
        codec = build_codec(preset.codec)
        assert parameters(codec) == 11_805_185
        assert codec.quantizer.codebooks.shape == (12, 1024, 512)  # buffers: no gradient
        assert parameters(W2vBert(preset.w2v_bert)) == 590_473_224
        stages = {
            name: parameters(build_stage(name, config)) for name, config in preset.stages.items()
        }
    assert stages == {
        "semantic": 153_121_280,
        "coarse": 160_460_288,
        "fine": 171_994_624,
        "acoustic_only": 159_411_712,
        "parallel": 160_463_872,
    }


def test_the_papers_settings() -> None:
    preset = load_preset("paper")
    for name, seconds in {"semantic": 30, "coarse": 10, "fine": 3}.items():
        how = preset.training.stages[name]
        assert (how.crop_seconds, preset.stages[name].context_seconds) == (seconds, seconds)
        assert (how.optimization.steps, how.optimization.batch_size) == (1_000_000, 256)
        transformer = preset.stages[name].transformer
        assert (transformer.layers, transformer.heads, transformer.dropout) == (12, 16, 0.1)
        layout = preset.stages[name].layout
        assert (layout.coarse_levels, layout.levels, layout.conditioning) == (4, 12, "prefix")
        assert layout.remove_repeats
    # The 7th layer of the masked-prediction module, which follows 12 of the contrastive one.
    assert preset.training.clustering.layer == preset.w2v_bert.contrastive_layers + 7
    assert preset.training.clustering.clusters == 1024


def test_the_papers_piano() -> None:
    """Section IV-I: three levels of 2^14, all in the second stage; the rest is that of speech."""
    piano, speech = load_preset("paper-piano"), load_preset("paper")
    quantizer = piano.codec.quantizer
    assert (quantizer.levels, quantizer.codebook_size) == (3, 2**14)
    assert (piano.prompt_seconds, piano.seconds) == (4, 20)
    assert set(piano.stages) == {"semantic", "coarse", "acoustic_only"}
    assert "fine" not in piano.recipe
    assert piano.stages["semantic"] == speech.stages["semantic"]
    for name in ("coarse", "acoustic_only"):
        layout = piano.stages[name].layout
        assert (layout.coarse_levels, layout.levels, layout.codebook_size) == (3, 3, 2**14)
        same = {"coarse_levels": 4, "levels": 12, "codebook_size": 1024}
        assert layout.model_copy(update=same) == speech.stages[name].layout
        assert piano.stages[name].transformer == speech.stages[name].transformer
        assert piano.training.stages[name] == speech.training.stages[name]
    assert piano.training.codec == speech.training.codec
    assert piano.training.w2v_bert == speech.training.w2v_bert


def test_what_is_played_is_never_changed_in_small_piano() -> None:
    training = load_preset("small-piano").training
    projection = training.second_clustering.projection
    assert projection is not None
    for augment in (training.w2v_bert.augment, training.second_round.augment, projection.augment):
        assert augment is not None
        assert (augment.voice, augment.babble) == (0, 0)
        assert augment.room > 0
        assert augment.noise > 0
        assert augment.gain > 0


def test_small_piano_is_small_enough_to_be_bundled(tmp_path) -> None:
    """At most 45 MB, with half a megabyte for model.json, a card and a prompt."""
    preset = load_preset("small-piano")
    clustering = preset.training.second_clustering
    assert clustering.projection is not None
    tokenizer = W2vBertTokenizerConfig(
        conformer=preset.w2v_bert.conformer,
        layer=clustering.layer,
        clusters=clustering.clusters,
        dims=clustering.projection.dims,
    )
    save_part(tmp_path, "codec", exported(build_codec(preset.codec)), dtype=preset.storage)
    save_part(tmp_path, "semantic", W2vBertTokenizer(tokenizer), dtype=preset.storage)
    for name, config in preset.stages.items():
        save_part(tmp_path, f"stage_{name}", build_stage(name, config), dtype=preset.storage)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 44.6e6


def test_unknown_presets_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"preset smal: not known; use one of .*small"):
        load_preset("smal")


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("codec.widht=3", r"preset tiny: unknown key codec\.widht; did you mean width\?"),
        ("codec.width=wide", r"preset tiny: codec\.width: .*; got 'wide'"),
        ("codec.quantizer.levls=3", r"unknown key codec\.quantizer\.levls; did you mean levels"),
        (
            "shares={kodec: 1}",
            r"preset tiny: shares\.kodec: kodec is not a step; did you mean codec",
        ),
        ("training.codec.optimisation.steps=3", "unknown key .*; did you mean optimization"),
        ("stages.coarse.transformer.layrs=3", "unknown key .*layrs; did you mean layers"),
        ("stages.parallel.passes=[4]", r"stages\.parallel\.passes: 4 is not 2 whole numbers"),
        (
            "stages.parallel.pases=[4, 1]",
            r"unknown key stages\.parallel\.pases; did you mean passes",
        ),
        (
            "stages.parallel.layout.look_ahead=2",
            r"stages\.parallel\.layout\.look_ahead: a parallel stage sees .* leave it out",
        ),
        ("stages.parallel.layout.kind=coarse", r"unknown key stages\.parallel\.passes"),
        ("sede=3", r"unknown key sede; did you mean seed\?"),
        ("training.codec.optimization.steps=0", r"training\.codec\.optimization\.steps: .*; got 0"),
        ("training.codec.optimization.steps=many", "got 'many'"),
        ("recipe=[codec, coffee]", "recipe.1: coffee is not a step; did you mean codec"),
        ("seed=-1", "seed: .*; got -1"),
        ("shares={codec: -1}", "shares.*; got -1"),
        ("stages.fine.layout.levels=5", r"stages\.fine\.layout\.levels is 5, but codec\.quantizer"),
        (
            "stages.coarse.layout.codebook_size=64",
            r"coarse\.layout\.codebook_size is 64, but codec\.quantizer\.codebook_size is 32",
        ),
        (
            "stages.semantic.layout.clusters=8",
            r"stages\.semantic\.layout\.clusters is 8, but training\.clustering\.clusters is 16; "
            "leave the first out",
        ),
        (
            "stages.coarse.transformer.heads=3",
            r"stages\.coarse\.transformer\.width: .* stages\.coarse\.transformer\.heads = 3; try",
        ),
        ("codec.quantizer.levels=2", r"stages\.fine\.layout\.levels: 2 leaves the fine stage no"),
        (
            "stages.fine.layout.look_ahead=2",
            r"preset tiny: stages\.fine\.layout\.look_ahead: a pre",
        ),
        (
            "stages.coarse.layout.kind=fine",
            r"stages\.coarse\.layout\.kind: fine cannot be there; s",
        ),
        ("stages.coarse.layout.kind=finer", r"stages\.coarse\.layout\.kind: .*got 'finer'"),
        (
            "stages.corse={layout: {kind: coarse}, context_seconds: 3}",
            r"stages\.corse: no such stage; did you mean coarse\?",
        ),
        (
            "training.stages.corse={}",
            r"training\.stages\.corse: no such stage; did you mean coarse",
        ),
        (
            "w2v_bert.contrastive_layers=2",
            r"preset tiny: w2v_bert\.contrastive_layers 2 must be few",
        ),
        ("codec.quantizer.decay=.nan", r"codec\.quantizer\.decay: .*finite.*; got nan"),
        ("training.codec.optimization.minutes=.inf", r"codec\.optimization\.minutes: .*finite"),
        ("shares={codec: .inf}", r"shares\.codec: .*finite number; got inf"),
        (
            "shares={codec: 1, fine: 2, codec: 3}",
            "shares.codec is there twice, again in line 1; remove one",
        ),
        ("training.clustering.layer=3", "training.clustering.layer is 3, but w2v_bert has 2"),
    ],
)
def test_settings_that_cannot_be_are_named(assignment, says) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        load_preset("tiny", [assignment])
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(("preset tiny: ", "--set "))


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (
            ["second_round.external_targets=8"],
            r"second_round\.external_targets is 8, but training\.clustering\.clusters is 16; leave",
        ),
        (["second_round.conformer.width=48"], r"conformer\.width is 48, but .*width is 32; make"),
        (["second_round.conformer.kernel=7"], r"conformer\.kernel is 7, but .*kernel is 5; make"),
        ([f"{SECOND}.layer=3"], f"{SECOND}.layer is 3, but second_round has 2 layers; choose"),
        (
            ["stages.coarse.layout.clusters=8"],
            rf"coarse\.layout\.clusters is 8, but {SECOND}\.clusters is 16",
        ),
        (
            ["w2v_bert.conformer.layers=4", "training.clustering.layer=3"],
            r"second_round\.conformer\.layers is 2, but training\.clustering\.layer is 3.*raise it",
        ),
    ],
)
def test_a_second_round_that_cannot_follow_the_first_is_named(assignments, says) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_preset("tiny", [*SECOND_ROUND, *assignments])


def test_a_second_round_may_have_more_layers_and_other_dropout() -> None:
    changes = ["second_round.conformer.layers=3", "second_round.conformer.dropout=0.2"]
    assert load_preset("tiny", [*SECOND_ROUND, *changes]).second_round.layers == 3


def test_sizes_follow_from_what_makes_the_ids() -> None:
    changes = ["codec.quantizer={levels: 6, codebook_size: 64}", "training.clustering.clusters=20"]
    for given in ([], ["stages.coarse.layout.clusters=20", "stages.coarse.layout.levels=6"]):
        layouts = {
            name: (s.layout.clusters, s.layout.codebook_size, s.layout.levels)
            for name, s in load_preset("tiny", [*changes, *given]).stages.items()
        }
        assert layouts["coarse"] == (20, 64, 6)
        assert layouts["semantic"][0] == 20
        assert layouts["fine"][1:] == layouts["acoustic_only"][1:] == (64, 6)


def test_the_stages_read_the_ids_of_the_last_clustering_of_the_recipe() -> None:
    sizes = ["training.clustering.clusters=8", f"{SECOND}.clusters=12"]
    both = load_preset("tiny", [*SECOND_ROUND, *sizes])
    assert both.second_round.external_targets == 8
    assert both.stages["semantic"].layout.clusters == 12
    one = load_preset("tiny", [*SECOND_ROUND, *sizes, "recipe=[clustering, tokens, semantic]"])
    assert one.stages["coarse"].layout.clusters == 8


def test_a_second_rounds_conformer_is_the_first_ones_where_it_has_no_other() -> None:
    without = [s for s in SECOND_ROUND if not s.startswith("second_round={")]
    preset = load_preset("tiny", [*without, "w2v_bert.conformer.kernel=3"])
    assert preset.second_round.conformer == preset.w2v_bert.conformer


@pytest.mark.parametrize("name", preset_names())
def test_a_resolved_preset_is_a_preset_and_the_same(name, tmp_path) -> None:
    """A training writes one beside what it makes."""
    preset = load_preset(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(json.dumps(preset.model_dump(mode="json")))
    assert load_preset(str(path)) == preset
    assert Preset.model_validate(preset.model_dump()) == preset


def test_settings_are_overridden() -> None:
    preset = load_preset("tiny", ["training.codec.optimization.steps=7", "seed=3"])
    assert preset.training.codec.optimization.steps == 7
    assert preset.training.w2v_bert.optimization.steps == 30
    assert preset.seed == 3


def test_a_preset_may_be_a_file(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ncodec: {kind: spectral}\nw2v_bert: {}\nstages: {}\nrecipe: [codec]\n"
    )
    assert load_preset(str(path)).codec.kind == "spectral"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "not valid YAML"),
        ("", "holds no settings"),
        ("- codec", "holds no settings"),
        ("name: mine\n", "codec: Field required"),
        ("\xff\xfe", "holds no settings"),
        ("name: a\nname: b\n", "name is there twice, again in line 2; remove one"),
        (
            "codec:\n  kind: spectral\n  width: 3\n  kind: soundstream\n",
            r"codec\.kind is there twice, again in line 4",
        ),
        ("stages: {coarse: {a: 1}, fine: {}, coarse: {}}", r"stages\.coarse is there twice"),
        ("recipe: [codec]\nstages: [{a: 1, a: 2}]", r"stages\.0\.a is there twice"),
    ],
)
def test_a_file_that_is_no_preset_is_named(tmp_path, text, says) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=rf"preset .*mine\.yaml: {says}"):
        load_preset(str(path))


def test_a_missing_file_is_no_preset(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="not known"):
        load_preset(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_has_settings_where_its_keys_say(step) -> None:
    preset = load_preset("tiny", SECOND_ROUND)
    settings, keys = step.settings(preset), step.keys()
    assert "training" in settings and "drawn" in settings
    assert ("network" in settings) == step.timed  # what is trained takes a share of the time
    for group in settings.keys() - {"drawn"}:
        found = preset.model_dump(mode="json")
        for name in keys[group].split("."):
            found = found[name]
        assert found == settings[group].model_dump(mode="json")
    assert settings["drawn"].seed == preset.seed
    assert settings["drawn"].data.validation_share == preset.data.validation_share
