"""`audiolm push`: put a model on the Hugging Face hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from audiolm.hub import Measured


@click.command("push")
@click.argument("model")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="For you alone, where the repository is new.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="What audiolm evaluate wrote of this model: its metrics go into the card. Any number.",
)
@click.option("--quiet", is_flag=True, help="Errors only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    model: str,
    repository: str,
    private: bool,
    reports: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Put MODEL on the Hugging Face hub as OWNER/NAME, with its card.

    Every part is verified first. The card is MODEL_CARD.md of the model's folder, or is written
    from what the model says of itself. You need the extra audiolm[hub] and a token that may write:
    `hf auth login`, or HF_TOKEN.
    """
    from audiolm.hub import push
    from audiolm.model_io.manifest import read_manifest
    from audiolm.pretrained import find

    folder = find(model)
    measured = [
        metric
        for report in reports
        for metric in _measured(report, read_manifest(folder).fingerprint)
    ]
    commit = push(folder, repository, private=private or None, measured=measured)
    if as_json:
        click.echo(json.dumps({"repository": repository, "commit": commit}))
    elif not quiet:
        click.echo(f"{repository}: {commit}; load it with --model {repository}")


def _measured(report: Path, fingerprint: str) -> "list[Measured]":
    """The metrics of a report of this very model.

    Raises:
        CorpusError: there is no report, or it is of another model.
    """
    from audiolm.errors import CorpusError
    from audiolm.evaluation.report.markdown import read_report
    from audiolm.hub import Measured

    content = read_report(report)
    if content["model"]["fingerprint"] != fingerprint:
        raise CorpusError(
            f"{report}: is of another model ({content['model']['fingerprint'][:16]}, this is "
            f"{fingerprint[:16]}); evaluate this one"
        )
    data = Path(content["data"]).name
    return [
        Measured(experiment["title"], data, name, metric["value"], metric["unit"])
        for experiment in content["experiments"].values()
        for name, metric in experiment.get("metrics", {}).items()
    ]
