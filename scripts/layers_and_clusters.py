#!/usr/bin/env python3
"""Which layer, and how many clusters: ABX and language-model figures for each, as in Fig. 3.

    python scripts/layers_and_clusters.py RECORDINGS --validation DEV --model MODEL --out FOLDER \\
        --layers 5,7,8 --clusters 512,2048 --minutes 6 --aligned DEV_ALIGNED --probes PROBES

MODEL is a folder that `audiolm train` made, with its training/ folder. For every layer and K its
second round is clustered again and a semantic stage is trained from nothing, for so many minutes;
`audiolm evaluate` then measures both. What is in FOLDER already is not made again.
"""

import argparse
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from audiolm.model_io.folder import load_part, save_part

HEAD = (
    "| layer | K | ABX within / across, not quantized | ABX of tokens | bits a token, unigram |"
    " words told from near-words | sentences |\n| --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    """Train and measure every combination, and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="what to train on")
    for name, what in (
        ("validation", "recordings of other speakers, to judge by"),
        ("model", "model folder whose second round is clustered"),
        ("out", "folder to make; a model for each combination"),
        ("aligned", "recordings with triphones.item"),
        ("probes", "what scripts/make_probes.py made"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--layers", default="7", help="comma-separated (%(default)s)")
    parser.add_argument("--clusters", default="2048", help="comma-separated (%(default)s)")
    parser.add_argument("--minutes", default="6", help="for each semantic stage (%(default)s)")
    parser.add_argument("--set", action="append", default=[], help="another setting of the preset")
    options = parser.parse_args()
    combinations = product(options.layers.split(","), options.clusters.split(","))
    rows = [_row(options, layer, clusters) for layer, clusters in combinations]
    print("\n".join([HEAD, *rows]))


def _row(options: argparse.Namespace, layer: str, clusters: str) -> str:
    """Train and measure one combination; its row of the table."""
    folder: Path = options.out / f"layer-{layer}-clusters-{clusters}"
    _begin(folder, options.model)
    settings = (
        f"training.second_clustering.layer={layer}",
        f"training.second_clustering.clusters={clusters}",
        f"stages.semantic.layout.clusters={clusters}",
        f"stages.coarse.layout.clusters={clusters}",
        "recipe=[second_clustering, tokens, semantic]",
        *options.set,
    )
    _audiolm(
        *("train", str(options.recordings), "--validation", str(options.validation)),
        *("--out", str(folder), "--minutes", options.minutes),
        *(word for setting in settings for word in ("--set", setting)),
    )
    abx = _figures(folder, "abx", options.aligned, "--set", 'abx.features=["layer", "semantic"]')
    probes = _figures(folder, "probes", options.probes)
    done = json.loads((folder / "training" / "semantic" / "done.json").read_text("utf-8"))
    bits, unigram = (done["metrics"][name] for name in ("bits", "unigram bits"))
    cells = [
        layer,
        clusters,
        _value(abx, f"layer_{layer}.within", f"layer_{layer}.across"),
        _value(abx, "semantic.within", "semantic.across"),
        f"{bits:.2f}, {unigram:.2f}",
        _value(probes, "lexical.all"),
        _value(probes, "syntactic.all"),
    ]
    return f"| {' | '.join(cells)} |"


def _begin(folder: Path, model: Path) -> None:
    """A model folder that has a codec, so that it can be loaded, and the second round of MODEL."""
    training = folder / "training"
    training.mkdir(parents=True, exist_ok=True)
    second_round = training / "second_round"
    if not second_round.exists():
        save_part(folder, "codec", load_part(model, "codec"), dtype="float32")
        second_round.symlink_to((model / "training" / "second_round").resolve())


def _figures(folder: Path, part: str, data: Path, *more: str) -> dict[str, Any]:
    """The figures that `audiolm evaluate` prints of one part, by name."""
    place = folder / "reports" / part
    _audiolm(
        *("evaluate", str(folder), "--data", str(data), "--out", str(place)),
        *("--only", part, *more),
    )
    report = json.loads((place / "report.json").read_text("utf-8"))
    metrics: dict[str, Any] = report["parts"][part]["metrics"]
    return metrics


def _value(metrics: dict[str, Any], *ends: str) -> str:
    """The figures whose names end so, in %: of the one corpus that was measured."""
    values = [
        figure["value"] for end in ends for name, figure in metrics.items() if name.endswith(end)
    ]
    return " / ".join(f"{value:.1f}" for value in values)


def _audiolm(*words: str) -> None:
    print("audiolm", *words, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "audiolm", *words, "--quiet"], check=True)


if __name__ == "__main__":
    main()
