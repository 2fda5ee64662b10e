"""Which parts belong together: a stage knows only the ids that it was trained on."""

from collections.abc import Mapping

from torch import Tensor

from audiolm.codec.contract import Codec
from audiolm.errors import ModelFolderError
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
    for kind, stage in stages.items():
        layout = stage.config.layout
        where = f"stage {kind}"
        if layout.kind != kind:
            raise ModelFolderError(f"{where} is a stage of kind {layout.kind}; pass it as that")
        trained_on = {
            "codec": stage.config.codec_fingerprint,
            "semantic": stage.config.semantic_fingerprint,
        }
        for part, expected in trained_on.items():
            found = fingerprints[part]
            # An empty fingerprint: the stage sees no tokens of that part, or was never trained.
            if expected and expected != found:
                raise ModelFolderError(
                    f"{where} was trained on {part} {expected}, but the model's is {found}; "
                    f"take both from one training, or train the stage again"
                )
        fits = {
            "clusters": layout.clusters == semantic.clusters or kind in ("fine", "acoustic_only"),
            "codebook_size": layout.codebook_size == codec.codebook_size or kind == "semantic",
            "levels": layout.levels <= codec.levels or kind == "semantic",
        }
        for key in (key for key, fit in fits.items() if not fit):
            raise ModelFolderError(
                f"{where} has {key} {getattr(layout, key)}, which the model's codec or tokenizer "
                "does not; take all from one training"
            )
    if "fine" in stages:
        split = stages["fine"].config.layout.coarse_levels
        for kind in stages.keys() & {"coarse", "acoustic_only"}:
            made = stages[kind].config.layout.coarse_levels
            if made != split:
                raise ModelFolderError(
                    f"stage {kind} makes {made} coarse levels, "
                    f"but stage fine goes on from {split}; train both with one coarse_levels"
                )


_RENAMED = {"transformer.companions.weight": "transformer.aligned.weight"}
"""Weights that earlier versions of the package called otherwise."""


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that this version gives them; shapes and values as they are."""
    return {_RENAMED.get(name, name): tensor for name, tensor in weights.items()}
