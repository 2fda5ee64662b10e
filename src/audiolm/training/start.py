"""Training that starts from weights that are there already: a model's, or an earlier round's."""

from pathlib import Path

from torch import nn

from audiolm.codec import Codec
from audiolm.codec.spectral import HARMONIC_MODULES, SpectralCodec
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.model_io.folder import load_part
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.stages import AutoregressiveStage
from audiolm.training.new_ids import Shares, carried_over
from audiolm.training.step_folder import flat_settings


def start_from(folder: Path, part: str, network: nn.Module, shares: Shares | None = None) -> None:
    """Give a network that is to be trained the weights of a model's part.

    An exported codec has no moving averages of its codebooks, so those stay as they are. A
    tokenizer holds w2v-BERT up to the clustered layer; the layers behind it and what only training
    needs begin anew.

    Args:
        folder: a model folder.
        part: as the model folder calls it: codec, semantic, stage_coarse, ...
        network: a codec, a `W2vBert` or a stage.
        shares: of a stage whose semantic ids were made anew, what became of the old ones.

    Raises:
        ConfigurationError: when the part is built otherwise than the network.
        ModelFolderError: when there is no such part, or it is damaged.
    """
    given = load_part(folder, part)
    if isinstance(network, W2vBert):
        assert isinstance(given, W2vBertTokenizer)
        start_conformer(network, given, f"--from {folder}: {part}")
        return
    assert isinstance(network, Codec | AutoregressiveStage)
    weights = given.state_dict()
    if shares is not None:
        assert isinstance(given, AutoregressiveStage)
        assert isinstance(network, AutoregressiveStage)
        weights = carried_over(given, network, shares)
    if isinstance(network, SpectralCodec) and network.config.harmonic:
        # A decoder that had no harmonic excitation gains one.
        first = network.state_dict()
        gained = {name for name in first if name.partition(".")[0] in HARMONIC_MODULES}
        weights = {name: first[name] for name in gained} | weights
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise _built_otherwise(f"--from {folder}: {part}", given.config, network.config) from None


def start_conformer(network: W2vBert, tokenizer: W2vBertTokenizer, where: str) -> None:
    """Give w2v-BERT the layers that a tokenizer has kept; its last layers begin anew.

    Args:
        network: changed in place.
        tokenizer: of an earlier training.
        where: what an error names first.

    Raises:
        ConfigurationError: when the layers are of other sizes, or the network has fewer of them.
    """
    kept, ours = tokenizer.conformer.config, network.conformer.config
    if ours.layers < kept.layers:
        raise _built_otherwise(where, kept, ours)
    try:
        network.conformer.load_state_dict(tokenizer.conformer.state_dict(), strict=False)
    except RuntimeError:
        more = kept.model_copy(update={"layers": ours.layers, "dropout": ours.dropout})
        raise _built_otherwise(where, more, ours) from None


def _built_otherwise(where: str, theirs: Configuration, ours: Configuration) -> ConfigurationError:
    """Name every setting in which the two differ, those that are no matter of size included."""
    there, here = (flat_settings(config.model_dump(mode="json"), "") for config in (theirs, ours))
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    differ = ", ".join(
        f"{key} {there.get(key)} (the preset: {here.get(key)})"
        for key in keys
        if not key.endswith(("_fingerprint", "semantic_rate"))
    )
    return ConfigurationError(
        f"{where} is built otherwise: {differ}; give the preset it was trained with, or set these"
    )
