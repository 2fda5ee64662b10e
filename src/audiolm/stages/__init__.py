"""Stages: networks over semantic ids and codes, and the layouts of their sequences."""

from audiolm.stages.autoregressive import AutoregressiveConfig, AutoregressiveStage
from audiolm.stages.contract import LogLikelihood, Stage, StageConfig, StageLoss
from audiolm.stages.kinds import KINDS, MAKERS, Acoustic, StageKind, build_stage, stage_kind
from audiolm.stages.layout import Layout
from audiolm.stages.layout_config import LayoutConfig, LayoutKind
from audiolm.stages.parallel import ParallelConfig, ParallelStage, checked_passes
from audiolm.stages.sampling import Sampling, stage_generator
from audiolm.stages.segments import Flat
from audiolm.stages.streams import Streams, remove_repeats, stretch
from audiolm.stages.transformer import TransformerConfig

__all__ = [
    "KINDS",
    "MAKERS",
    "Acoustic",
    "AutoregressiveConfig",
    "AutoregressiveStage",
    "Flat",
    "Layout",
    "LayoutConfig",
    "LayoutKind",
    "LogLikelihood",
    "ParallelConfig",
    "ParallelStage",
    "Sampling",
    "Stage",
    "StageConfig",
    "StageKind",
    "StageLoss",
    "Streams",
    "TransformerConfig",
    "build_stage",
    "checked_passes",
    "remove_repeats",
    "stage_generator",
    "stage_kind",
    "stretch",
]
