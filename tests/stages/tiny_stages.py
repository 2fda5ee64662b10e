"""Stages small enough to run in milliseconds, with weights large enough that ids matter."""

import torch

from audiolm.stages import (
    AutoregressiveConfig,
    AutoregressiveStage,
    LayoutConfig,
    ParallelConfig,
    ParallelStage,
    Streams,
    TransformerConfig,
)

CLUSTERS, CODEBOOK, COARSE, LEVELS = 6, 5, 2, 4

KINDS = [
    ("semantic", "prefix"),
    ("coarse", "prefix"),
    ("coarse", "aligned"),
    ("coarse", "both"),
    ("fine", "prefix"),
    ("fine", "aligned"),
    ("fine", "both"),
    ("acoustic_only", "prefix"),
]
"""Every layout with every way of conditioning."""


def tiny(kind, conditioning="prefix", *, context_seconds=10.0, dropout=0.0, seed=0, **layout):
    layout.setdefault("remove_repeats", kind == "semantic" or conditioning == "prefix")
    layout.setdefault("look_ahead", 0 if conditioning == "prefix" else 1)
    config = AutoregressiveConfig(
        layout=LayoutConfig(
            kind=kind,
            clusters=CLUSTERS,
            codebook_size=CODEBOOK,
            coarse_levels=COARSE,
            levels=LEVELS,
            conditioning=conditioning,
            **layout,
        ),
        transformer=TransformerConfig(
            layers=2,
            heads=2,
            width=16,
            feed_forward=32,
            dropout=dropout,
            buckets=8,
            max_distance=30,
        ),
        context_seconds=context_seconds,
    )
    return _large_weights(AutoregressiveStage(config).eval(), seed)


def tiny_parallel(*, context_seconds=10.0, dropout=0.0, seed=0, levels=COARSE, **settings):
    """A parallel stage of two coarse levels."""
    settings.setdefault("passes", (4,) + (1,) * (levels - 1))
    config = ParallelConfig(
        layout=LayoutConfig(
            kind="parallel",
            clusters=CLUSTERS,
            codebook_size=CODEBOOK,
            coarse_levels=levels,
            levels=LEVELS,
            remove_repeats=False,
            conditioning="aligned",
        ),
        transformer=TransformerConfig(
            layers=2,
            heads=2,
            width=16,
            feed_forward=32,
            dropout=dropout,
            buckets=8,
            max_distance=30,
        ),
        context_seconds=context_seconds,
        **settings,
    )
    stage = _large_weights(ParallelStage(config).eval(), seed)
    stage.products = torch.float32  # as the networks that they are compared with
    return stage


def _large_weights(stage, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in stage.named_parameters():
            if weight.ndim > 1:
                inputs = ("embedding", "aligned", "semantic")
                scale = 1.0 if any(word in name for word in inputs) else 0.4
                weight.normal_(0, scale, generator=generator)
    return stage


def random_streams(rows, frames, *, seed=0, levels=LEVELS, ended=None):
    generator = torch.Generator().manual_seed(seed)
    return Streams(
        torch.randint(CLUSTERS, (rows, (frames + 1) // 2), generator=generator),
        torch.randint(CODEBOOK, (rows, levels, frames), generator=generator),
        ended,
    )
