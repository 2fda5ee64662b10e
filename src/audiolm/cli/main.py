"""The `audiolm` command: one verb per file, imported when it is asked for.

Whatever goes wrong becomes one line on stderr and an exit code: 0 done, 1 a fault of ours, 2 bad
input or usage, 130 interrupted.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

import click

from audiolm._version import __version__
from audiolm.errors import AudioLMError

VERBS = {
    "continue": ("audiolm.cli.continue_:command", "Go on from a prompt, in its voice."),
    "resynthesize": ("audiolm.cli.resynthesize:command", "The same content in another voice."),
    "edit": ("audiolm.cli.edit:command", "A gap in a recording, said anew."),
    "generate": ("audiolm.cli.generate:command", "Something new, without a prompt."),
    "reconstruct": ("audiolm.cli.reconstruct:command", "A recording through the codec and back."),
    "serve": ("audiolm.cli.serve:command", "A page to play with, and the verbs over HTTP."),
    "detect": ("audiolm.cli.detect:command", "Whether a model made a recording, and its mark."),
    "train": ("audiolm.cli.train:train", "A model from a folder of recordings."),
    "tokenize": ("audiolm.cli.tokenize:command", "A corpus as tokens, on any number of machines."),
    "evaluate": ("audiolm.cli.evaluate:command", "The tables of the paper, measured."),
    "report": ("audiolm.cli.report:command", "What evaluations and trainings came to."),
    "sweep": ("audiolm.cli.sweep:command", "Which layer, and how many clusters."),
    "info": ("audiolm.cli.info:command", "What a model is made of."),
    "benchmark": ("audiolm.cli.benchmark:command", "How fast a model is on this machine."),
    "push": ("audiolm.cli.push:command", "A model to the Hugging Face hub."),
    "completion": ("audiolm.cli.completion:command", "What bash, zsh or fish need to complete."),
}
"""Verb: where its command is, and what it does."""

GROUPS = {
    "Make sound": ("continue", "resynthesize", "generate", "edit", "reconstruct"),
    "Look into what was made": ("detect",),
    "Train on your own recordings": ("train", "tokenize", "sweep"),
    "Measure": ("evaluate", "report", "benchmark", "info"),
    "Share": ("serve", "push"),
    "Set up": ("completion",),
}
"""What one wants to do: the verbs for it, in the order of `--help`."""

EXAMPLES = (
    ("audiolm continue prompt.wav -o out.wav", "the prompt, and seven seconds more"),
    ("audiolm continue prompt.wav -o - --seconds inf | aplay", "goes on until Ctrl-C"),
    ("audiolm resynthesize speech.wav -o other.wav", "the same content, another voice"),
    ("audiolm train RECORDINGS --out my-model --minutes 90", "from a folder of recordings"),
    ("audiolm continue prompt.wav -o out.wav --model my-model", "with a model of your own"),
    ("audiolm evaluate my-model --data FOLDER --out REPORT", "the tables of the paper"),
)
"""Commands to begin with, and what each does."""


class Verbs(click.Group):
    """The verbs, imported one at a time: `--help` needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of `--help`."""
        return [verb for verbs in GROUPS.values() for verb in verbs if verb in VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by what one wants to do, and examples."""
        for wish, verbs in GROUPS.items():
            if there := [(verb, VERBS[verb][1]) for verb in verbs if verb in VERBS]:
                with formatter.section(wish):
                    formatter.write_dl(there)
        with formatter.section("Examples"):
            for command, says in EXAMPLES:
                formatter.write(f"{'':{formatter.current_indent}}{command:57} {says}\n")


@click.command(
    cls=Verbs,
    invoke_without_command=True,
    subcommand_metavar="VERB …",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="audiolm VERB --help says more. AUDIOLM_TRACEBACK=1 shows where an error comes from.",
)
@click.version_option(__version__, prog_name="audiolm", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """AudioLM: continue a recording, say it in another voice, or train your own model."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: those of the process when None.
    """
    # Before PyTorch is loaded: its threads otherwise wait for each other at full speed, and stand
    # still for minutes where another program keeps a core busy (docs/LOG.md has the figures).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that is no UTF-8 can be said, too
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            code = group.main(arguments, prog_name="audiolm", standalone_mode=False)
            return code if isinstance(code, int) else 0
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "audiolm"
            return _failed(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
        except (KeyboardInterrupt, click.Abort):
            return _failed("interrupted", 130)
        except AudioLMError as error:
            return _failed(str(error), 2)
        except Exception as error:
            what = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            return _failed(f"{what}; a fault of ours, AUDIOLM_TRACEBACK=1 shows where", 1)


def _failed(message: str, code: int) -> int:
    if os.environ.get("AUDIOLM_TRACEBACK"):
        traceback.print_exc()
    click.echo("audiolm: " + " ".join(message.split()), err=True)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say what this package warns of in one line; what other packages warn of is for developers."""
    if category.__module__.startswith("audiolm"):
        click.echo("audiolm: warning: " + " ".join(str(message).split()), err=True)
    elif os.environ.get("AUDIOLM_TRACEBACK"):
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)
