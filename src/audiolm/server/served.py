"""The models that requests may name: a fixed list, loaded at start, and what each can do.

A request says one of these names and nothing else: no path and no name of the hub is ever opened
for it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from audiolm.errors import ConfigurationError
from audiolm.model import AudioLM
from audiolm.pretrained import bundled_models, find, load
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE
from audiolm.stages import Sampling
from audiolm.stages.guidance import check_guidance


@dataclass(frozen=True)
class ServedModel:
    """A model under the name that requests call it by."""

    name: str
    lm: AudioLM
    prompt: Path | None = None
    """A recording to try it with."""

    def lacking(self) -> dict[str, str]:
        """What it cannot do, and why, in the words of an error."""
        stages = self.lm.stages
        coarse = "coarse" in stages or "parallel" in stages
        has = {
            "continuation": ("semantic" in stages and coarse, "semantic and coarse stage"),
            "resynthesis": (coarse, "coarse stage"),
            "acoustic_only": ("acoustic_only" in stages, "stage acoustic_only"),
            "parallel": ("parallel" in stages, "stage parallel"),
            "guidance": (self._can_be_guided(), "stage that has learnt guidance"),
            "edit": (self._can_edit(), "stages that fill a gap"),
            "detection": (self.lm.detector is not None, "detector"),
        }
        return {
            what: f"this model has no {part}" for what, (there, part) in has.items() if not there
        }

    def about(self) -> dict[str, Any]:
        """What a page needs to know of it."""
        lm, lacking = self.lm, self.lacking()
        sampling = lm.sampling
        bits = math.log2(lm.codec.codebook_size)  # of a level of a frame
        return {
            "name": self.name,
            "fingerprint": lm.fingerprint,
            "sample_rate": SAMPLE_RATE,
            "lacking": lacking,
            "levels": lm.codec.levels,
            "default_levels": lm.levels,
            "level_kbps": bits * SAMPLE_RATE / CODEC_HOP / 1000,
            "acoustic": lm.info.acoustic or "autoregressive",
            "prompt_seconds": lm.info.prompt_seconds,
            "seconds": lm.info.seconds,
            "temperatures": {
                way: [sampling[kind].temperature for kind in ("semantic", codes, "fine")]
                for way, codes in (("autoregressive", "coarse"), ("parallel", "parallel"))
            },
            "prompt": f"/v1/models/{quote(self.name)}/prompt" if self.prompt else None,
        }

    def _can_edit(self) -> bool:
        semantic = self.lm.stages.get("semantic")
        learnt = semantic is not None and semantic.config.layout.fill_in_the_middle
        return "parallel" in self.lm.stages and bool(learnt)

    def _can_be_guided(self) -> bool:
        for kind in self.lm.stages.keys() & {"coarse", "parallel"}:
            try:
                check_guidance(Sampling(guidance=1.5), self.lm.stages[kind].config, kind)
            except ConfigurationError:
                return False
        return True


def served_models(
    names: Sequence[str], device: torch.device | str = "auto"
) -> dict[str, ServedModel]:
    """Load models: bundled ones, folders, or those of the hub; all that are bundled when empty.

    A folder is called by its last name, and `owner/name` of the hub by its own.

    Raises:
        ModelFolderError: as `load`, or nothing is bundled.
        ConfigurationError: two are called the same.
    """
    models: dict[str, ServedModel] = {}
    for given in names or bundled_models() or ["speech"]:
        folder = find(given)
        name = Path(given).resolve().name
        if name in models:
            raise ConfigurationError(
                f"--model {given}: another model is called {name} already; rename the folder"
            )
        prompts = (folder / f"prompt.{suffix}" for suffix in ("wav", "flac"))
        prompt = next((path for path in prompts if path.is_file()), None)
        models[name] = ServedModel(name, load(given, device), prompt)
    return models


def chosen(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """The model of this name; the first one when None.

    Raises:
        ConfigurationError: there is none.
    """
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        raise ConfigurationError(
            f"field: model: {name[:60]!r} is not served here; use {' or '.join(models)}"
        )
    return models[name]
