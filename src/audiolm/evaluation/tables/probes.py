"""Does the model know words and sentences? sWUGGY, sBLIMP and bits per token (Table IV, Fig. 3).

Of a pair, the recording that the semantic stage finds likelier should be the word, or the
grammatical sentence. As in the paper the log-likelihood is divided by the number of tokens, since
one of a pair is often longer; without that the metrics are given as well. Voices that speak the
same pair are averaged first, and pairs are what intervals resample.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import ProbePair, read_lexical, read_syntactic
from audiolm.evaluation.metrics.sequence_scores import Likelihood, preference
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import limited
from audiolm.evaluation.tables.bits import bits_per_token
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.likelihood import (
    likelihoods,
    semantic_ids,
    semantic_stage,
)

CHALLENGE = "https://zerospeech.com (sLM21: lexical/ and syntactic/ with their gold.csv)"

SETS: Mapping[str, Callable[[Path], list[ProbePair]]] = {
    "lexical": read_lexical,
    "syntactic": read_syntactic,
}
NAMES = {"lexical": "swuggy", "syntactic": "sblimp"}
PAPER = {
    "swuggy.all": 71.5,
    "swuggy.in_vocabulary": 83.7,
    "sblimp.all": 64.7,
    "sblimp.all.not_normalised": 67.5,
}


@dataclass(frozen=True)
class ScoredPair:
    """A pair with its two likelihoods."""

    pair: ProbePair
    good: Likelihood
    bad: Likelihood

    def right(self, per_token: bool = True) -> float:
        """1 if the good one is likelier, a half for a tie."""
        return preference(self.good, self.bad, per_token)


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """sWUGGY and sBLIMP where they are, and bits per token on held-out speech where there is some.

    `request.limit` counts pairs of each set, and recordings of held-out speech.

    Raises:
        Skipped: if there are neither pairs nor recordings, or the model has no semantic stage.
        CorpusError: if a gold file lacks a column, half a pair, or recordings.
    """
    stage = semantic_stage(request.model)
    split = request.options.probes.split
    folders = {kind: _folder(request.data, kind, split) for kind in SETS}
    found = {kind: folder for kind, folder in folders.items() if folder is not None}
    result = ExperimentResult({}, [], [], {})
    result.conditions["log-likelihood"] = (
        "of the semantic stage, the end of the sequence not counted; repeats "
        + ("removed" if stage.config.layout.remove_repeats else "kept")
    )
    rounds = len(found) + 1
    for number, (kind, folder) in enumerate(found.items()):

        def advance(done: float, number: int = number) -> None:
            request.progress((number + done) / rounds)

        _score_set(kind, folder, request, advance, result)

    def last(done: float) -> None:
        request.progress((rounds - 1 + done) / rounds)

    layouts = {folder.parent.parent for folder in found.values()}
    besides = [layout / kind for layout in layouts for kind in (*SETS, "semantic")]
    bits = bits_per_token(request, besides, last)
    if bits is None and not found:
        raise Skipped(
            f"there is neither lexical/{split} nor syntactic/{split} nor held-out speech below "
            f"{request.data}",
            f"get the pairs from {CHALLENGE}, or make some: python scripts/make_probes.py",
        )
    if bits is not None:
        result.metrics.update(bits.metrics)
        result.tables.extend(bits.tables)
        result.conditions.update(bits.conditions)
    return result


def _folder(data: Path, kind: str, split: str) -> Path | None:
    """`lexical/dev` below the data folder, which may be the layout itself or lie above it."""
    found = sorted(path for path in data.rglob(f"{kind}/{split}") if path.is_dir())
    if len(found) > 1:
        raise CorpusError(
            f"{data}: there are {found[0]} and {found[1]}; name the folder above one of them"
        )
    return found[0] if found else None


def _score_set(
    kind: str,
    folder: Path,
    request: ExperimentRequest,
    progress: Callable[[float], None],
    result: ExperimentResult,
) -> None:
    """Add what there is to say about the pairs of one folder to the result."""
    # A pair is taken in all its voices.
    pairs = limited(SETS[kind](folder), lambda pair: pair.id, request.limit, request.seed)
    scored = _scored(pairs, request, progress)
    about = _about(folder)
    name = f"{about['name']}_{kind}" if about else NAMES[kind]
    metrics: dict[str, Metric] = {}
    subsets = {"all": scored}
    if kind == "lexical":
        subsets["in_vocabulary"] = [j for j in scored if j.pair.in_vocabulary]
    for subset, chosen in subsets.items():
        for suffix, per_token in (("", True), (".not_normalised", False)):
            if chosen:
                key = f"{name}.{subset}{suffix}"
                paper = None if about else PAPER.get(key)
                metrics[key] = _accuracy(chosen, per_token, request.seed, paper)
    result.metrics.update(metrics)
    title = about["title"] if about else {"swuggy": "sWUGGY", "sblimp": "sBLIMP"}[name]
    result.tables.append(_main_table(title, name, metrics))
    result.tables.append(_detail_table(title, scored, request.seed))
    _write_pairs(request.out / f"{name}.csv", scored)
    voices = sorted({j.pair.voice for j in scored})
    result.conditions[str(folder)] = (
        f"{len({j.pair.id for j in scored})} pairs, voices {', '.join(voices)}"
        + (f"; {about['title']}" if about else "")
    )


def _about(folder: Path) -> dict[str, str] | None:
    """What `probes.json` above `lexical/dev` says of a set that is not the published one."""
    path = folder.parent.parent / "probes.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"name": str(content["name"]), "title": str(content["title"])}
    except (ValueError, KeyError, TypeError):
        raise CorpusError(f"{path}: does not give the set a name and a title; add them") from None


def _scored(
    pairs: list[ProbePair], request: ExperimentRequest, progress: Callable[[float], None]
) -> list[ScoredPair]:
    batch_seconds = request.options.probes.batch_seconds
    paths = sorted({path for pair in pairs for path in (pair.good, pair.bad)})
    ids = semantic_ids(request.model, paths, batch_seconds, progress)
    known = likelihoods(semantic_stage(request.model), ids, batch_seconds)
    of = dict(zip(paths, known, strict=True))
    return [ScoredPair(pair, of[pair.good], of[pair.bad]) for pair in pairs]


def _accuracy(
    scored: Sequence[ScoredPair], per_token: bool, seed: int, paper: float | None = None
) -> Metric:
    """Percent of pairs told right, the voices of a pair averaged first."""
    by_pair: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        by_pair[one.pair.id].append(one.right(per_token))
    means = [sum(values) / len(values) for values in by_pair.values()]
    return mean_metric(means, unit="%", scale=100, note="pairs resampled", paper=paper, seed=seed)


def _main_table(title: str, name: str, metrics: Mapping[str, Metric]) -> Table:
    rows: list[list[TableCell]] = []
    for key, metric in metrics.items():
        if not key.endswith(".not_normalised"):
            subset = key.removeprefix(f"{name}.").replace("_", " ")
            rows.append([subset, metric, metrics[f"{key}.not_normalised"]])
    columns = ["pairs", "normalised by length, %", "not normalised, %"]
    note = "Pairs told right; higher is better, 50 is chance."
    return Table(title, columns, rows, note, by_speaker=False)


def _detail_table(title: str, scored: Sequence[ScoredPair], seed: int) -> Table:
    groups: dict[str, list[ScoredPair]] = defaultdict(list)
    for one in sorted(scored, key=lambda j: (j.pair.voice, j.pair.group)):
        groups[f"voice {one.pair.voice}"].append(one)
    for one in sorted(scored, key=lambda j: j.pair.group):
        groups[one.pair.group].append(one)
    rows: list[list[TableCell]] = [
        [group, _accuracy(chosen, True, seed), len({j.pair.id for j in chosen})]
        for group, chosen in groups.items()
    ]
    columns = ["voice, kind", "normalised by length, %", "pairs"]
    return Table(f"{title}, by voice and by kind", columns, rows, by_speaker=False)


def _write_pairs(path: Path, scored: Sequence[ScoredPair]) -> None:
    """Every pair with its likelihoods, for whoever wants to look closer."""
    rows = [
        {
            "id": one.pair.id,
            "voice": one.pair.voice,
            "group": one.pair.group,
            "good": one.pair.texts[0],
            "bad": one.pair.texts[1],
            "nats_good": f"{one.good.nats:.4f}",
            "tokens_good": one.good.tokens,
            "nats_bad": f"{one.bad.nats:.4f}",
            "tokens_bad": one.bad.tokens,
            "right": one.right(),
            "right_not_normalised": one.right(per_token=False),
        }
        for one in scored
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
