"""Stages: the Transformers over semantic ids and codes, and the layouts of their sequences."""

from audiolm.stages.autoregressive import LogLikelihood, Stage, StageConfig, StageLoss
from audiolm.stages.layout import (
    Flat,
    Layout,
    LayoutConfig,
    StageKind,
    Streams,
    remove_repeats,
    stretch,
)
from audiolm.stages.sampling import Sampling
from audiolm.stages.transformer import TransformerConfig

__all__ = [
    "Flat",
    "Layout",
    "LayoutConfig",
    "LogLikelihood",
    "Sampling",
    "Stage",
    "StageConfig",
    "StageKind",
    "StageLoss",
    "Streams",
    "TransformerConfig",
    "remove_repeats",
    "stretch",
]
