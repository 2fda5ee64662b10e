"""Stages small enough to run in milliseconds, with weights large enough that ids matter."""

import torch

from audiolm.stages import (
    AutoregressiveConfig,
    AutoregressiveStage,
    LayoutConfig,
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
    stage = AutoregressiveStage(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in stage.named_parameters():
            if weight.ndim > 1:
                scale = 1.0 if "embedding" in name or "aligned" in name else 0.4
                weight.normal_(0, scale, generator=generator)
    return stage


def random_streams(rows, frames, *, seed=0, levels=LEVELS, ended=None):
    generator = torch.Generator().manual_seed(seed)
    return Streams(
        torch.randint(CLUSTERS, (rows, (frames + 1) // 2), generator=generator),
        torch.randint(CODEBOOK, (rows, levels, frames), generator=generator),
        ended,
    )
