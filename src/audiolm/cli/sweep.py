"""`audiolm sweep`: which layer, and how many clusters? ABX and bits of each, as in Fig. 3."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click

COLUMNS = (
    "layer",
    "K",
    "ABX within / across, not quantized, %",
    "ABX of tokens, %",
    "bits a token, unigram",
    "words told from near-words, %",
    "sentences, %",
)


@dataclass(frozen=True)
class Sweep:
    """What is tried, and what it is judged by."""

    recordings: Path
    validation: Path
    model: Path
    out: Path
    preset: str
    minutes: float | None
    aligned: Path | None
    probes: Path | None
    settings: tuple[str, ...]


def _numbers(context: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    """Comma-separated numbers above 0, each once."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{text!r} is no list of numbers like 5,7,8")
    return list(dict.fromkeys(map(int, words)))


_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("sweep")
@click.argument("recordings", type=_folder)
@click.option("--validation", required=True, type=_folder, help="Recordings of other speakers.")
@click.option(
    "--model",
    required=True,
    type=_folder,
    help="A model that was trained here: its w2v-BERT is clustered again, the second round's where "
    "there is one.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for models.")
@click.option("--layers", required=True, callback=_numbers, help="Comma-separated: 5,7,8.")
@click.option("--clusters", required=True, callback=_numbers, help="Comma-separated: 512,2048.")
@click.option("--preset", default="small", show_default=True, help="Name or file.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    help="For each semantic stage; as the preset has it unless given.",
)
@click.option("--aligned", type=_folder, help="Recordings with an ABX item file.")
@click.option("--probes", type=_folder, help="Pairs of words and sentences (ZeroResource 2021).")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another setting.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(layers: list[int], clusters: list[int], as_json: bool, **asked: Any) -> None:
    """Train a semantic stage on each layer and number of clusters, and measure both.

    For every layer and K, w2v-BERT is clustered again and a semantic stage is trained from nothing;
    `audiolm evaluate --speakers choose` then measures bits, ABX and pairs. It is for choosing: what
    is reported of the choice is measured on the other half of the speakers. What is in OUT already
    is not made again.
    """
    from audiolm.evaluation.report.markdown import markdown_table

    sweep = Sweep(**asked)
    found = [try_out(sweep, layer, k, run_verb) for layer, k in product(layers, clusters)]
    if as_json:
        click.echo(json.dumps({"sweep": found}, indent=1, allow_nan=False))
    else:
        click.echo("\n".join(markdown_table(COLUMNS, [row_of(one) for one in found])))


def try_out(sweep: Sweep, layer: int, clusters: int, run: Callable[..., None]) -> dict[str, Any]:
    """Train and measure one combination.

    Args:
        sweep: what is asked.
        layer: of w2v-BERT.
        clusters: K.
        run: runs a verb of `audiolm`.

    Returns:
        `layer`, `clusters`, `bits`, `unigram_bits` (None where one person speaks alone), and
        metrics by name under `abx` and `probes`.
    """
    folder = sweep.out / f"layer-{layer}-clusters-{clusters}"
    clustering = begin(folder, sweep.model)
    settings = (
        f"training.{clustering}.layer={layer}",
        f"training.{clustering}.clusters={clusters}",
        f"recipe=[{clustering}, tokens, semantic]",
        *sweep.settings,
    )
    run(
        *("train", str(sweep.recordings), "--validation", str(sweep.validation)),
        *("--out", str(folder), "--preset", sweep.preset),
        *(() if sweep.minutes is None else ("--minutes", f"{sweep.minutes:g}")),
        *(word for setting in settings for word in ("--set", setting)),
    )
    bits = _measured(folder, "bits", "probes", sweep.validation, _half(sweep.validation), (), run)
    found: dict[str, Any] = {
        "layer": layer,
        "clusters": clusters,
        "bits": bits.get("bits_per_token.semantic_stage"),
        "unigram_bits": bits.get("bits_per_token.unigram"),
    }
    features = ("--set", 'abx.features=["layer", "semantic"]')
    for experiment, data, more in (("abx", sweep.aligned, features), ("probes", sweep.probes, ())):
        if data is not None:
            found[experiment] = _measured(folder, experiment, experiment, data, "choose", more, run)
    return found


def begin(folder: Path, model: Path) -> str:
    """Make a model folder with the codec and the w2v-BERT of a model.

    Returns:
        The step that clusters: `second_clustering` where the model had a second round.

    Raises:
        CorpusError: if the model was not trained here.
    """
    from audiolm.errors import CorpusError
    from audiolm.model_io.folder import load_part, save_part

    networks = {"second_round": "second_clustering", "w2v_bert": "clustering"}
    there = [name for name in networks if (model / "training" / name / "done.json").exists()]
    if not there:
        raise CorpusError(
            f"{model}: its training/ holds no finished w2v-BERT to cluster; name a folder that "
            "audiolm train --out has written"
        )
    source = model / "training" / there[0]
    link = folder / "training" / there[0]
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        # So that the folder can be loaded; the codec comes as it is.
        save_part(folder, "codec", load_part(model, "codec"), dtype="float32")
        link.symlink_to(source.resolve())
    return networks[there[0]]


def _half(validation: Path) -> str:
    """Whose recordings the bits are of: all, where a few recordings have nobody to choose by."""
    from audiolm.data.corpus import open_corpus
    from audiolm.evaluation.corpora import Utterance
    from audiolm.evaluation.halves import of_half

    recordings = open_corpus(validation).recordings
    return "choose" if of_half(recordings, lambda r: Utterance(r).speaker, "choose") else "all"


def _measured(
    folder: Path,
    report: str,
    experiment: str,
    data: Path,
    speakers: str,
    more: tuple[str, ...],
    run: Callable[..., None],
) -> dict[str, float]:
    """The values that `audiolm evaluate` finds in one experiment, by name."""
    from audiolm.evaluation.report.markdown import read_report

    place = folder / "reports" / report
    run(
        *("evaluate", str(folder), "--data", str(data), "--out", str(place)),
        *("--only", experiment, "--speakers", speakers, *more),
    )
    metrics = read_report(place)["experiments"][experiment]["metrics"]
    return {name: metric["value"] for name, metric in metrics.items()}


def row_of(found: dict[str, Any]) -> list[str]:
    """A row of the table; empty cells where nothing was measured."""
    abx, probes, layer = found.get("abx", {}), found.get("probes", {}), found["layer"]
    return [
        str(layer),
        str(found["clusters"]),
        _values(abx, f"layer_{layer}.within", f"layer_{layer}.across"),
        _values(abx, "semantic.within", "semantic.across"),
        ", ".join(f"{n:.2f}" for n in (found["bits"], found["unigram_bits"]) if n is not None),
        _values(probes, "swuggy.all", "lexical.all"),
        _values(probes, "sblimp.all", "syntactic.all"),
    ]


def _values(metrics: dict[str, float], *ends: str) -> str:
    """The values whose names end so, in the order of the ends."""
    found = [value for end in ends for name, value in metrics.items() if name.endswith(end)]
    return " / ".join(f"{value:.1f}" for value in found)


def run_verb(*words: str) -> None:
    """Run a verb in a process of its own, and say so on stderr.

    Raises:
        AudioLMError: if it fails; it has said why.
    """
    from audiolm.errors import AudioLMError

    click.echo(f"audiolm {' '.join(words)}", err=True)
    ended = subprocess.run(
        [sys.executable, "-m", "audiolm", *words, "--quiet"],
        check=False,
        stdout=subprocess.DEVNULL,  # on stdout stands the table alone
    )
    if ended.returncode:
        raise AudioLMError(
            f"sweep: audiolm {words[0]} {words[1]} ended with exit code {ended.returncode} for the "
            "reason above; mend it, and give the same command again"
        )
