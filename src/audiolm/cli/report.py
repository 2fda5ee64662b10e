"""`audiolm report`: what evaluations and trainings came to, as Markdown."""

import json
from pathlib import Path
from typing import Any

import click


@click.command("report")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout: by folder.")
def command(folders: tuple[str, ...], as_json: bool) -> None:
    """Print the tables of each FOLDER as Markdown.

    FOLDER is what `audiolm evaluate --out` wrote: every table with its command and conditions. Or
    a model that was trained here: what each step came to on its validation recordings.
    """
    from audiolm.errors import CorpusError
    from audiolm.evaluation.report.markdown import REPORT, markdown_report, read_report
    from audiolm.evaluation.report.training import TRAINING, markdown_training, read_training

    contents: dict[str, Any] = {}
    lines: list[str] = []
    for name in folders:
        folder = Path(name)
        if (folder / REPORT).exists():
            contents[name] = read_report(folder)
            lines += markdown_report(contents[name])
        elif (folder / TRAINING).is_dir():
            contents[name] = read_training(folder)
            lines += [*markdown_training(contents[name]), ""]
        else:
            raise CorpusError(
                f"{folder}: holds neither {REPORT} nor {TRAINING}/; name a folder that audiolm "
                "evaluate or audiolm train has written"
            )
    click.echo(json.dumps(contents, indent=1) if as_json else "\n".join(lines).rstrip("\n"))
