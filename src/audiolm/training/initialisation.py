"""First weights that are no random numbers: a model's, an earlier round's; vocabulary transfer.

Vocabulary transfer: a new tokenizer gives every semantic id another meaning, and with it all that a
stage knows of them is lost, though sounds and voices are what they were. So both tokenizers are
heard on the same recordings: what a stage knows of a new id is, to begin with, the mean of what it
knew of the old ids that stood at the same steps, weighted by how often each stood there.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiolm.codec import Codec
from audiolm.codec.spectral import HARMONIC_MODULES, SpectralCodec
from audiolm.configuration import Configuration
from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError
from audiolm.model_io.folder import load_part
from audiolm.semantic import SemanticTokenizer
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.stages import AutoregressiveStage, ParallelStage, Stage
from audiolm.stages.layout import FIRST_SEMANTIC
from audiolm.training.recordings import Recordings
from audiolm.training.step_folder import flat_settings

HOURS = 2.0
"""Audio that both tokenizers are heard on, at most."""
BATCH_SECONDS = 160.0
"""Audio in one batch."""

OldIds = Float[Tensor, "K K_old"]
"""Row by row, how often each old id stood where a new one stands; every row sums to 1."""


def start_from(folder: Path, part: str, network: nn.Module, old_ids: OldIds | None = None) -> None:
    """Give a network that is to be trained the weights of a model's part.

    An exported codec has no moving averages of its codebooks, so those stay as they are. A
    tokenizer holds w2v-BERT up to the clustered layer; the layers behind it and what only training
    needs begin anew.

    Args:
        folder: a model folder.
        part: as the model folder calls it: codec, semantic, stage_coarse, ...
        network: a codec, a `W2vBert` or a stage.
        old_ids: of a stage whose semantic ids are new, which old ones they were.

    Raises:
        ConfigurationError: when the part is built otherwise than the network.
        ModelFolderError: when there is no such part, or it is damaged.
    """
    given = load_part(folder, part)
    if isinstance(network, W2vBert):
        assert isinstance(given, W2vBertTokenizer)
        start_conformer(network, given, f"--from {folder}: {part}")
        return
    assert isinstance(network, Codec | Stage)
    weights = given.state_dict()
    if old_ids is not None and isinstance(given, ParallelStage):
        known = weights["transformer.semantic.weight"]  # (K_old + 1, D), no id last
        meant = torch.cat([old_ids @ known[:-1], known[-1:]])
        weights["transformer.semantic.weight"] = meant
    elif old_ids is not None:
        assert isinstance(given, AutoregressiveStage)
        assert isinstance(network, AutoregressiveStage)
        weights = transfer_vocabulary(given, network, old_ids)
    if isinstance(network, AutoregressiveStage) and network.config.layout.fill_in_the_middle:
        weights = with_far_side(weights, network)
    if isinstance(network, SpectralCodec) and network.config.harmonic:
        # A decoder that had no harmonic excitation gains one.
        first = network.state_dict()
        gained = {name for name in first if name.partition(".")[0] in HARMONIC_MODULES}
        weights = {name: first[name] for name in gained} | weights
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise _built_otherwise(f"--from {folder}: {part}", given.config, network.config) from None


def start_from_coarse(folder: Path, network: ParallelStage) -> bool:
    """Give a parallel stage what the coarse stage of a model has learnt of the same ids.

    Both read sums of embeddings and have a head for each level, so the embeddings, the heads and
    the blocks between them mean the same. Masks and positions are learnt anew: the coarse stage
    knows no mask, and its positions are tokens, not frames.

    Args:
        folder: a model folder with a coarse stage.
        network: changed in place.

    Returns:
        Whether the two fit: trained on the same ids, and of the same sizes. Nothing is changed
        where they do not.
    """
    given = load_part(folder, "stage_coarse")
    assert isinstance(given, AutoregressiveStage)
    theirs, ours = given.transformer, network.transformer
    old, new = given.config, network.config
    same_ids = (old.codec_fingerprint, old.semantic_fingerprint) == (
        new.codec_fingerprint,
        new.semantic_fingerprint,
    )
    sizes = [config.transformer.model_copy(update={"dropout": 0.0}) for config in (old, new)]
    same_levels = old.layout.coarse_levels == new.layout.coarse_levels
    if not (same_ids and same_levels and sizes[0] == sizes[1]) or theirs.aligned is None:
        return False
    levels, codes, width = ours.heads.shape
    with torch.no_grad():
        first = given.layout.first_id(1)
        known = theirs.embedding.weight[first:].view(levels, codes, width)
        ours.embedding.weight.view(levels, codes + 1, width)[:, :codes] = known
        # Row 0 stands for no id; then the ids now, before those further ahead.
        clusters = new.layout.clusters
        ours.semantic.weight[:clusters] = theirs.aligned.weight[1 : 1 + clusters]
        ours.semantic.weight[clusters] = theirs.aligned.weight[0]  # no id
        ours.heads.copy_(theirs.heads)
        ours.norm.load_state_dict(theirs.norm.state_dict())
        ours.blocks.load_state_dict(theirs.blocks.state_dict())
    return True


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


def with_far_side(weights: dict[str, Tensor], stage: AutoregressiveStage) -> dict[str, Tensor]:
    """The weights of a stage that goes from left to right, for one that fills the middle too.

    What is new begins as in `stage`: the separator, and how many ids are left to a far side. Where
    there is no far side nothing is added, so ordinary rows are what they were. Weights that have
    all that are returned as they are.
    """
    name = "transformer.aligned.weight"
    if name in weights or stage.transformer.aligned is None:
        return weights
    countdown = stage.transformer.aligned.weight.detach().clone()  # (1 + COUNTDOWN, D)
    countdown[0] = 0.0
    rows, ours = weights["transformer.embedding.weight"], stage.transformer.embedding.weight
    separator = ours.detach()[stage.layout.separator :]  # (1, D)
    return weights | {name: countdown, "transformer.embedding.weight": torch.cat([rows, separator])}


def _built_otherwise(where: str, theirs: Configuration, ours: Configuration) -> ConfigurationError:
    """Name every setting in which the two differ, those that are no matter of size included."""
    there, here = (flat_settings(config.model_dump(mode="json"), "") for config in (theirs, ours))
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    differ = ", ".join(
        f"{key} {there.get(key)} (the preset: {here.get(key)})"
        for key in keys
        if not key.endswith(("_fingerprint", "semantic_rate", "repetition"))
    )
    return ConfigurationError(
        f"{where} is built otherwise: {differ}; give the preset it was trained with, or set these"
    )


def old_ids_of_new(old: SemanticTokenizer, new: TokenStore, recordings: Recordings) -> OldIds:
    """Which old ids stood where the new ones stand; a new id never met has those of all steps.

    Args:
        old: the tokenizer that the stage was trained on.
        new: the tokens of `recordings`, by the tokenizer that it is to be trained on.
        recordings: in the same order.
    """
    counts = torch.zeros(new.format.clusters, old.clusters, dtype=torch.float64)
    for indices in recordings.by_length(BATCH_SECONDS, hours=HOURS):
        waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
        for index, was in zip(indices, old.encode(waveform, lengths).cpu(), strict=True):
            ids = new.semantic(index)  # (S,)
            pairs = ids * old.clusters + was[: len(ids)]
            counts += torch.bincount(pairs, minlength=counts.numel()).view_as(counts)
    every = counts.sum(dim=0, keepdim=True)  # (1, K_old)
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, every)
    return (counts / counts.sum(dim=1, keepdim=True)).float()


def transfer_vocabulary(
    learnt: AutoregressiveStage, stage: AutoregressiveStage, old_ids: OldIds
) -> dict[str, Tensor]:
    """The weights of `learnt` for `stage`, whose semantic ids are new.

    Conditioning further ahead than `learnt` was shown begins with no effect (but at the end of a
    window, where there is none to show).

    Args:
        learnt: a stage that knows the old ids.
        stage: one of the same kind and sizes; its K and its look-ahead may be others.
        old_ids: as `old_ids_of_new` gives them.
    """
    weights = dict(learnt.state_dict())
    role = stage.layout.roles.semantic
    first, last = FIRST_SEMANTIC, FIRST_SEMANTIC + learnt.config.layout.clusters
    if role is not None:
        rows = weights["transformer.embedding.weight"]  # (V, D)
        meant = old_ids @ rows[first:last]
        weights["transformer.embedding.weight"] = torch.cat([rows[:first], meant, rows[last:]])
    if role == "predicted":
        head = weights["transformer.heads"]  # (1, 1 + K_old, D), END first
        weights["transformer.heads"] = torch.cat([head[:, :1], old_ids @ head[:, 1:]], dim=1)
    theirs, mine = learnt.transformer.aligned, stage.transformer.aligned
    if role == "conditioning" and theirs is not None and mine is not None:
        given = theirs.weight.detach()  # (1 + C * K_old, D)
        slots = given[1:].unflatten(0, (-1, learnt.config.layout.clusters))  # (C, K_old, D)
        ours = torch.zeros_like(mine.weight)  # (1 + C' * K, D)
        ours[0] = given[0]
        kept = (old_ids @ slots).flatten(0, 1)[: len(ours) - 1]
        ours[1 : 1 + len(kept)] = kept
        weights["transformer.aligned.weight"] = ours
    return weights
