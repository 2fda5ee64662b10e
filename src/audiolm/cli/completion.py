"""`audiolm completion`: what a shell needs to complete verbs, options and files."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what SHELL needs to complete verbs, options and files.

    \b
    bash    source <(audiolm completion bash)         in ~/.bashrc
    zsh     source <(audiolm completion zsh)          in ~/.zshrc, behind compinit
    fish    audiolm completion fish > ~/.config/fish/completions/audiolm.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all of them
    click.echo(kind(context.find_root().command, {}, "audiolm", "_AUDIOLM_COMPLETE").source())
