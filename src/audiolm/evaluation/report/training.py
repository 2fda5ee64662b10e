"""What each step of a training came to, and how its ids are used: of a folder that was trained in.

Reads MODEL/training, which `audiolm train` keeps, as plain files.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiolm.errors import CorpusError
from audiolm.evaluation.report.markdown import markdown_table

TRAINING = "training"
STEPS = (
    "codec",
    "w2v_bert",
    "clustering",
    "second_round",
    "second_clustering",
    "tokens",
    "semantic",
    "coarse",
    "fine",
    "acoustic_only",
    "parallel",
)
"""In the order in which they are taken; others come last."""


def read_training(model: Path) -> dict[str, Any]:
    """Metrics of the finished steps, by their name, and the use of ids where there are tokens.

    A step whose `done.json` is damaged counts as not finished, as it does for `audiolm train`.

    Raises:
        CorpusError: if no step is finished there.
    """
    folder = model / TRAINING
    names = sorted((path.parent.name for path in folder.glob("*/done.json")), key=_place)
    steps = {}
    for name in names:
        done = _read(folder / name / "done.json")
        if isinstance(done.get("metrics"), dict):
            steps[name] = done["metrics"] | {"seconds": done.get("seconds")}
    if not steps:
        raise CorpusError(
            f"{folder}: no step of a training is finished there; name a folder that audiolm train "
            "--out has written"
        )
    tokens = _read(folder / "tokens" / "validation" / "tokens.json").get("statistics")
    return {"steps": steps} | ({"tokens": tokens} if tokens else {})


def markdown_training(training: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of steps, and what there is to say of the ids."""
    rows = []
    for name, metrics in training["steps"].items():
        seconds, updates = metrics.get("seconds"), metrics.get("steps")
        minutes = "" if seconds is None else f"{seconds / 60:.0f}"
        rows.append(
            [name, minutes, "" if updates is None else f"{updates:.0f}", _told(name, metrics)]
        )
    yield from markdown_table(["step", "minutes", "updates", "on validation recordings"], rows)
    if use := training.get("tokens"):
        perplexity = " ".join(f"{value:.0f}" for value in use["codebook_perplexity"])
        yield ""
        yield f"Semantic ids in use: {use['semantic_used']}, {use['semantic_entropy']:.2f} bits;"
        yield f"perplexity of the codebooks, level by level: {perplexity}."


def _told(step: str, metrics: Mapping[str, float]) -> str:
    """The metrics of one step that say how good it is; all but the times where none is known."""
    words = []
    for name, text in (
        ("si-sdr", "SI-SDR {:.1f} dB"),
        ("pitch error", "pitch error {:.0f} cents"),
        ("voicing error", "voicing wrong in {:.1%} of windows"),
        ("contrastive", "contrastive loss {:.2f} nats"),
        ("contrastive_accuracy", "{:.0%} right of 101"),
        ("masked_prediction", "masked prediction {:.2f} nats"),
        ("masked_prediction_accuracy", "{:.0%} right"),
        ("bits", "{:.2f} bits a token"),
        ("unigram bits", "unigram {:.2f}"),
    ):
        if name in metrics:
            words.append(text.format(metrics[name]))
    if step == "codec" and "loss" in metrics:
        words.insert(0, f"mel distance {metrics['loss']:.3f}")
    kinds = [name for name in metrics if name.startswith("bits ")]
    if len(kinds) > 1:
        words += [f"{kind.removeprefix('bits ')} {metrics[kind]:.2f}" for kind in kinds]
    known = {"seconds", "steps"}
    return ", ".join(words or [f"{k} {v:.4g}" for k, v in metrics.items() if k not in known])


def _place(name: str) -> tuple[int, str]:
    return (STEPS.index(name) if name in STEPS else len(STEPS), name)


def _read(path: Path) -> dict[str, Any]:
    """The content of a file of JSON; nothing where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
