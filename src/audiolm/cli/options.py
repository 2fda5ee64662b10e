"""The options that every verb takes, and what they set."""

import functools
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiolm.arguments import MOST_DRAWS

if TYPE_CHECKING:
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.stages import Sampling

THREADS = 1
"""CPU threads that make recordings unless `--threads` says otherwise: the stages' matrix products
are small, and on a shared machine two threads wait for each other (docs/LOG.md has the figures)."""


class FewerThreadsWarning(UserWarning):
    """More threads were asked for than the machine has cores."""


def use_threads(threads: int) -> None:
    """Let PyTorch compute with so many threads, at most as many as there are cores.

    Warns:
        FewerThreadsWarning: when there are fewer cores; PyTorch crashes with many thousands.
    """
    import torch

    cores = os.cpu_count() or 1
    if threads > cores:
        warnings.warn(
            f"threads: {threads} asked for, this machine has {cores} cores; {cores} are used",
            FewerThreadsWarning,
            stacklevel=2,
        )
    torch.set_num_threads(min(threads, cores))


def _temperatures(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """S,C,F: one temperature for each of the three stages."""
    if text is None:
        return None
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise click.BadParameter(f"{text!r} is not three numbers like 0.6,0.8,0.6")
    return numbers


def _passes(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """N,N,...: passes of the parallel stage for each level."""
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not numbers like 16,1,1,1") from None


@dataclass(frozen=True)
class Settings:
    """What the options of every verb say."""

    model: str
    seed: int
    temperature: tuple[float, float, float] | None
    top_k: int | None
    top_p: float | None
    guidance: float | None
    device: str
    threads: int | None
    quiet: bool
    as_json: bool

    def load(self, model: str | None = None) -> "AudioLM":
        """The model (that of `--model` when None), on the device, with as many threads as asked."""
        from audiolm.pretrained import load

        if self.threads is not None:
            use_threads(self.threads)
        return load(model or self.model, self.device)

    def lengths(self, seconds: float | None, prompt_seconds: float | None) -> tuple[float, float]:
        """How much to add to how much of a prompt: as asked, else as the model's manifest says."""
        if seconds is not None and prompt_seconds is not None:
            return seconds, prompt_seconds
        from audiolm.model_io.manifest import read_manifest
        from audiolm.pretrained import find

        own = read_manifest(find(self.model))
        return (
            own.seconds if seconds is None else seconds,
            own.prompt_seconds if prompt_seconds is None else prompt_seconds,
        )

    def sampling(self, lm: "AudioLM") -> "dict[str, Sampling]":
        """The model's own sampling settings, with what the options say in their place."""
        return {kind: self._asked(kind, own.model_dump()) for kind, own in lm.sampling.items()}

    def check_sampling(self) -> None:
        """Refuse what cannot be, before a model is loaded.

        Raises:
            ConfigurationError: a temperature, `--top-k` or `--top-p` cannot be.
        """
        from audiolm.stages import KINDS

        for kind in KINDS:
            self._asked(kind, {})

    def _asked(self, kind: str, own: dict[str, Any]) -> "Sampling":
        from audiolm.pipeline import asked_sampling

        return asked_sampling(
            kind,
            own,
            temperatures=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            guidance=self.guidance,
        )

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """A bar on stderr for each stage, where stderr is a terminal."""
        from tqdm import tqdm

        bars: dict[str, tqdm[Any]] = {}

        def show(stage: str, done: int, of: int) -> None:
            if stage not in bars or bars[stage].n > done:
                disable = True if self.quiet else None
                bars[stage] = tqdm(total=of, desc=stage, disable=disable, file=sys.stderr)
            bars[stage].update(done - bars[stage].n)

        try:
            yield show
        finally:
            for bar in bars.values():
                bar.close()

    def tell(self, report: dict[str, Any], lines: Sequence[str]) -> None:
        """Print the report: one JSON object, or lines for people."""
        if self.as_json:
            click.echo(json.dumps(report, indent=1, allow_nan=False))
        elif not self.quiet:
            for line in lines:
                click.echo(line)


def common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every verb to a command; it gets them as one `Settings`, first."""

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        settings = Settings(**{field.name: arguments.pop(field.name) for field in fields(Settings)})
        if settings.quiet:
            warnings.simplefilter("ignore")
        function(settings, **arguments)

    options = [
        click.option(
            "--model",
            default="speech",
            show_default=True,
            help="A bundled model, a folder, or owner/name on the Hugging Face hub.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**63 - 1),
            default=0,
            show_default=True,
            help="One seed gives one result.",
        ),
        click.option(
            "--temperature",
            metavar="S,C,F",
            callback=_temperatures,
            help="Of the semantic, coarse and fine stage; the model's own unless given.",
        ),
        click.option("--top-k", type=int, help="Draw from the k likeliest ids only."),
        click.option("--top-p", type=float, help="Draw from the likeliest ids of this mass only."),
        click.option(
            "--guidance",
            type=float,
            help="How strongly the codes follow the semantic ids: 1 as learnt, 1.5 more surely.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            default="auto",
            show_default=True,
            help="Where to compute.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(1),
            help=f"CPU threads to compute with; {THREADS} where recordings are made, unless given.",
        ),
        click.option("--quiet", is_flag=True, help="No progress, no warnings, errors only."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


out_option = click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write, .wav or .flac.",
)

samples_option = click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many to make, with seeds SEED, SEED+1, …: OUT-1.wav, OUT-2.wav, …",
)

best_of_option = click.option(
    "--best-of",
    type=click.IntRange(1, MOST_DRAWS),
    default=1,
    show_default=True,
    help="How many to draw; the one that the model's own parts judge best is kept.",
)

acoustic_option = click.option(
    "--acoustic",
    type=click.Choice(["parallel", "autoregressive"]),
    help="How coarse codes are made: all frames at once, or one after the other; the model's own "
    "way unless given.",
)

passes_option = click.option(
    "--passes",
    metavar="N,N,...",
    callback=_passes,
    help="Passes of the parallel stage for each level; its own unless given.",
)

levels_option = click.option(
    "--levels",
    type=int,
    help="How many of the codec's levels to make; the model's own number unless given.",
)

no_mark_option = click.option(
    "--no-mark",
    is_flag=True,
    help="Leave the inaudible mark out of what is made; the metadata is written all the same.",
)


def signing_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add `--certificate` and `--key`; the command gets them read, as `credentials`, or None."""

    @functools.wraps(function)
    def command(*arguments: Any, certificate: Path | None, key: Path | None, **others: Any) -> None:
        if (certificate is None) != (key is None):
            raise click.UsageError("--certificate and --key: give both, or neither")
        credentials = None
        if certificate is not None and key is not None:
            from audiolm.safety.provenance import read_credentials

            credentials = read_credentials(certificate, key)
        function(*arguments, credentials=credentials, **others)

    for option in (
        click.option(
            "--key",
            metavar="KEY.pem",
            type=click.Path(path_type=Path),
            help="The private key of the certificate, as PEM without password.",
        ),
        click.option(
            "--certificate",
            metavar="CHAIN.pem",
            type=click.Path(path_type=Path),
            help="Sign OUT with this certificate: a C2PA manifest says that a model made it.",
        ),
    ):
        command = option(command)
    return command
