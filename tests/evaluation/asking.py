"""Requests to the parts of an evaluation, and corpora to ask about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiolm.configuration import parse
from audiolm.data.corpus import Recording
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.halves import Speakers
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.tables.contract import ExperimentRequest

WORDS = ["now is the time", "for all good men", "to come to the aid", "of the party now"]


def ask(
    model: Any,
    data: Path,
    out: Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    speakers: Speakers = "all",
    **sections: dict[str, Any],
) -> ExperimentRequest:
    """A request whose options are the defaults but for what `sections` say."""
    out.mkdir(parents=True, exist_ok=True)
    options = parse(EvaluationConfig, sections, "options")
    return ExperimentRequest(model, data, out, limit, seed, progress, options, speakers)


def utterance(
    id: str, speaker: str | None = "a", seconds: float = 5.0, split: str | None = None, text="hello"
) -> Utterance:
    """An utterance without a file."""
    return Utterance(Recording(id, Path(f"{id}.wav"), seconds, speaker, split), text)


def add_transcripts(root: Path) -> dict[str, str]:
    """Give every recording of a corpus a text; by the stem of its name."""
    stems = sorted(path.stem for path in root.rglob("*.wav"))
    texts = {stem: WORDS[number % len(WORDS)] for number, stem in enumerate(stems)}
    lines = [f"{stem} {text.upper()}\n" for stem, text in texts.items()]
    (root / "transcripts.txt").write_text("".join(lines), encoding="utf-8")
    return texts
