"""Which parts belong together: a stage knows only the ids that it was trained on."""

from collections.abc import Mapping

from torch import Tensor

from audiolm.codec.contract import Codec
from audiolm.errors import ModelFolderError
from audiolm.parts import stage_part
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.stages import Stage


def check_parts(
    codec: Codec,
    semantic: SemanticTokenizer,
    stages: Mapping[str, Stage],
    fingerprints: Mapping[str, str],
) -> None:
    """Refuse stages whose ids are not those of this codec and this tokenizer.

    Args:
        fingerprints: of the codec and the tokenizer, under `codec` and `semantic`.

    Raises:
        ModelFolderError: naming the stage, what it was trained on, and what is there.
    """
    for name, stage in stages.items():
        layout, where = stage.config.layout, f"stage {name}"
        part = stage_part(name)
        part.network(stage)  # refuses a stage of another kind
        trained_on = {
            "codec": stage.config.codec_fingerprint,
            "semantic": stage.config.semantic_fingerprint,
        }
        for of in part.ids_of:
            expected, found = trained_on[of], fingerprints[of]
            # An empty fingerprint: the stage was never trained.
            if expected and expected != found:
                raise ModelFolderError(
                    f"{where} was trained on {of} {expected}, but the model's is {found}; "
                    f"take both from one training, or train the stage again"
                )
        fits = {
            "clusters": layout.clusters == semantic.clusters or not layout.roles.semantic,
            "codebook_size": layout.codebook_size == codec.codebook_size or not layout.roles.codes,
            "levels": layout.levels <= codec.levels or not layout.roles.codes,
        }
        for key in (key for key, fit in fits.items() if not fit):
            raise ModelFolderError(
                f"{where} has {key} {getattr(layout, key)}, which the model's codec or tokenizer "
                "does not; take all from one training"
            )
    _check_coarse_levels(stages)


def _check_coarse_levels(stages: Mapping[str, Stage]) -> None:
    """Refuse stages that make other coarse levels than those that a stage goes on from."""
    roles = {name: stage.layout.roles for name, stage in stages.items()}
    for reader in (name for name in stages if roles[name].coarse == "conditioning"):
        split = stages[reader].config.layout.coarse_levels
        for maker in (name for name in stages if roles[name].coarse == "predicted"):
            made = stages[maker].config.layout.coarse_levels
            if made != split:
                raise ModelFolderError(
                    f"stage {maker} makes {made} coarse levels, "
                    f"but stage {reader} goes on from {split}; train both with one coarse_levels"
                )


_RENAMED = {"transformer.companions.weight": "transformer.aligned.weight"}
"""Weights that earlier versions of the package called otherwise."""


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that this version gives them; shapes and values as they are."""
    return {_RENAMED.get(name, name): tensor for name, tensor in weights.items()}
