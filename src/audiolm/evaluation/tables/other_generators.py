"""Sound that a detector was not trained on: other settings, other models, other systems."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioLMError
from audiolm.evaluation.generated import Generated
from audiolm.evaluation.options import DetectionConfig, MakingConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.model import AudioLM
from audiolm.pretrained import load
from audiolm.shapes import SAMPLE_RATE
from audiolm.stages import MAKERS

if TYPE_CHECKING:
    from audiolm.evaluation.tables.contract import ExperimentRequest

FACTORS = (0.75, 1.3)
"""By which all temperatures are multiplied: beyond what the training's spread covers."""
PROGRAMS = {"espeak-ng": ("-w", "{out}", "{text}"), "flite": ("-t", "{text}", "-o", "{out}")}
"""Speech synthesis by rule and from diphones: how each is asked to say a text into a file."""
SENTENCES = (
    "The boat came home before the wind turned to the north.",
    "She kept the letter in a drawer and never spoke of it again.",
    "At the end of the road there is a small house with a green door.",
    "Nobody in the village could say when the bells had stopped.",
    "He counted the coins twice and put them back into the box.",
    "In the morning the garden was white, and the birds were gone.",
    "We walked along the river until we could hear the mill.",
    "The old clock on the wall has been wrong for twenty years.",
)


def other_generators(
    request: "ExperimentRequest", prompts: Sequence[Audio], options: DetectionConfig
) -> dict[str, list[Audio] | str]:
    """Clips without their prompts by what made them, or why there are none.

    Args:
        request: with the model, and where what is made is kept.
        prompts: to continue, all of one length.
        options: how long, and which other models.
    """
    model = request.model
    made: dict[str, list[Audio] | str] = {}

    def continued(by: AudioLM, making: MakingConfig, baseline: bool = False) -> list[Audio]:
        generated = Generated(by, request.out.parent / "generated", making)
        answers = generated.continuations(
            prompts,
            options.seconds,
            request.seed,
            "acoustic-only" if baseline else None,
            mark=False,
        )
        return [answer.last(options.seconds) for answer in answers]

    if "acoustic_only" in model.stages:
        made["acoustic-only baseline"] = continued(model, options, baseline=True)
    else:
        made["acoustic-only baseline"] = "the model has no such stage"
    for factor in FACTORS:
        made[f"temperatures x {factor:g}"] = continued(at_temperature(model, factor), options)
    own = options.acoustic or model.info.acoustic or "autoregressive"
    for acoustic, stage in MAKERS.items():
        if acoustic != own and stage in model.stages:
            made[f"codes made {acoustic}"] = continued(model, MakingConfig(acoustic=acoustic))
    for name in options.models:
        try:
            made[f"model {name}"] = continued(load(name, model.device), MakingConfig())
        except AudioLMError as error:
            made[f"model {name}"] = str(error)
    for program in PROGRAMS:
        try:
            made[program] = spoken_by(program)
        except Skipped as skipped:
            made[program] = skipped.reason
    return made


def at_temperature(model: AudioLM, factor: float) -> AudioLM:
    """The same model with other temperatures."""
    sampling = {
        kind: one.model_copy(update={"temperature": factor * one.temperature}).model_dump()
        for kind, one in model.sampling.items()
    }
    info = model.info.model_copy(update={"sampling": sampling})
    return AudioLM(model.codec, model.semantic, model.stages, model.name, info, model.fingerprints)


def spoken_by(program: str) -> list[Audio]:
    """The sentences, by a program of this machine.

    Raises:
        Skipped: it is not installed, or fails.
    """
    if shutil.which(program) is None:
        raise Skipped(f"{program} is not installed", f"install {program}")
    clips = []
    with TemporaryDirectory() as folder:
        for number, text in enumerate(SENTENCES):
            out = Path(folder) / f"{number}.wav"
            words = [word.format(out=out, text=text) for word in PROGRAMS[program]]
            try:
                subprocess.run([program, *words], check=True, capture_output=True, timeout=60)
                clips.append(read(out, SAMPLE_RATE))
            except (OSError, subprocess.SubprocessError, AudioLMError) as error:
                raise Skipped(f"{program} does not speak ({error})", "repair it") from None
    return clips
