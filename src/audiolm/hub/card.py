"""The card of a model on the hub: what the hub reads (YAML, in front), and what people read.

The words of the YAML are the hub's: https://huggingface.co/docs/hub/model-cards.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from audiolm.errors import ModelFolderError
from audiolm.model_io.manifest import Manifest

TASK = "audio-to-audio"
"""The hub's name for what an AudioLM does."""

_LICENCES = {
    "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "gpl-3.0", "mit", "openrail",
    "unlicense",
}  # fmt: skip
"""Licences that the hub knows by these names, of those that weights come under."""

_HUB_METRICS = ("accuracy", "cer", "wer")
"""Metrics that the hub has a page for and the evaluation measures."""

_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Measured:
    """One metric of an evaluation, as a card lists it."""

    experiment: str
    """What was measured, in words."""
    data: str
    """The name of the recordings it was measured on."""
    metric: str
    """Its name in report.json, such as `wer.codec`."""
    value: float
    unit: str = ""


def card(manifest: Manifest, text: str = "", measured: Sequence[Measured] = ()) -> str:
    """The card of a model, `README.md` on the hub.

    Args:
        manifest: what the model says of itself.
        text: Markdown for people, the folder's MODEL_CARD.md; written from the manifest when empty.
            YAML in front of it goes before what is derived here, key by key; of metrics the card
            has its own and `measured`.
        measured: metrics, for the hub's table of them.

    Raises:
        ModelFolderError: what stands in front of `text` is no YAML of keys and values.
    """
    own, text = _split(text)
    derived = _front(manifest, measured)
    front = derived | own
    for key in ("metrics", "model-index"):
        if isinstance(own.get(key), list) and key in derived:
            front[key] = own[key] + [one for one in derived[key] if one not in own[key]]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n\n{(text or _text(manifest, measured)).strip()}\n"


def _split(text: str) -> tuple[dict[str, Any], str]:
    """The YAML in front of a card, and the card without it."""
    found = _FRONT.match(text)
    if found is None:
        return {}, text
    try:
        own = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as error:
        own = str(error).splitlines()[0]
    if not isinstance(own, dict):
        raise ModelFolderError(
            f"MODEL_CARD.md: what stands between its first two lines of --- is no YAML of keys and "
            f"values ({own}); put it right, or take it out"
        )
    return own, text[found.end() :]


def _front(manifest: Manifest, measured: Sequence[Measured]) -> dict[str, Any]:
    """What the hub reads, as far as the manifest and the metrics say it."""
    front: dict[str, Any] = {}
    if language := manifest.data.get("language"):  # as the hub writes it: en
        front["language"] = language
    front |= {"library_name": "audiolm", "pipeline_tag": TASK}
    licence = re.sub(r"[^a-z0-9.]+", "-", manifest.licence.lower()).strip("-")
    if licence in _LICENCES:
        front["license"] = licence
    elif licence:
        front |= {"license": "other", "license_name": licence}
    front["tags"] = ["audiolm", "audio-generation", "audio-continuation"]
    if datasets := manifest.data.get("datasets"):  # names on the hub, where the model states them
        front["datasets"] = datasets
    kinds = {one.metric.partition(".")[0] for one in measured}
    if metrics := [name for name in _HUB_METRICS if name in kinds]:
        front["metrics"] = metrics
    if measured:
        front["model-index"] = [{"name": manifest.name, "results": _results(measured)}]
    return front


def _results(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """The hub's form of metrics: one result for each experiment on each set of recordings."""
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in measured:
        unit = f", {one.unit}" if one.unit else ""
        metric = {
            "type": one.metric.partition(".")[0],
            "name": f"{one.metric}{unit}",
            "value": one.value,
        }
        results.setdefault((one.experiment, one.data), []).append(metric)
    return [
        {
            "task": {"type": TASK, "name": experiment},
            "dataset": {"type": data, "name": data},
            "metrics": metrics,
        }
        for (experiment, data), metrics in results.items()
    ]


def _text(manifest: Manifest, measured: Sequence[Measured]) -> str:
    """A card for people, of nothing but what the manifest and the metrics say."""
    facts = {f"Data: {key}": value for key, value in _flat(manifest.data)}
    facts |= {"Licence": manifest.licence or "not stated", "Made by": manifest.made_by}
    lines = [
        f"# {manifest.name}",
        "",
        "An [AudioLM](https://arxiv.org/abs/2209.03143) model: a codec, a semantic tokenizer and "
        "stages that predict their tokens.",
        "",
        "```python",
        "import audiolm",
        "",
        'lm = audiolm.load("OWNER/NAME")  # the name of this page',
        'lm.continuation(audiolm.read("prompt.wav"), seed=0).write("out.wav")',
        "```",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {value} |" for key, value in facts.items() if value),
        "",
        "| part | kind | fingerprint |",
        "| --- | --- | --- |",
        *(f"| {n} | {e.kind} | `{e.fingerprint[:16]}` |" for n, e in manifest.parts.items()),
    ]
    if measured:
        lines += ["", "| what | metric | recordings | value |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {m.experiment} | {m.metric} | {m.data} | {m.value:.4g} {m.unit} |" for m in measured
        ]
    lines += [
        "",
        "Do not pass off what it makes as a recording of a person, and continue nobody's voice "
        "without their consent.",
    ]
    return "\n".join(lines)


def _flat(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a manifest says of its data, one line each. Names of folders are nobody's business; the
    hub itself shows what stands in front of the card."""
    facts = []
    for key, value in data.items():
        if key in ("folder", "datasets", "language"):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {number}" for name, number in value.items())
        facts.append((key, str(value)))
    return facts
