"""Every command and every snippet of the docs does what it says, on a tiny model.

Commands of this package are run; trainings, evaluations and sweeps, which take minutes, are read by
the command line's own parser, and their settings by those who take them. What cannot be run here
says why, in a comment above its block: `<!-- not run: ... -->`.
"""

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from audiolm import pretrained
from audiolm.cli import main as cli
from audiolm.configuration import override, parse
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.run import chosen_experiments
from audiolm.model import AudioLM
from audiolm.model_io.folder import save_part
from audiolm.training.preset import load_preset
from audiolm.training.recipe import STEPS
from tiny import noise, tiny_model, tiny_stage

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / name for name in ("index.md", "paper.md", "api.md")]
PAGES += sorted((ROOT / "docs" / "guide").glob("*.md"))
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```",
    re.DOTALL | re.MULTILINE,
)
LONG = ("train", "evaluate", "sweep", "report", "benchmark")
"""Verbs that take minutes, or read what those have written; the README's are run to their end."""


@dataclass(frozen=True)
class Snippet:
    """A block of a page."""

    page: str
    number: int
    language: str
    text: str
    reason: str | None
    """Why it is not run."""

    @property
    def name(self) -> str:
        return f"{self.page}-{self.number}"


SNIPPETS = [
    Snippet(page.name, number, found["language"], found["text"], found["reason"])
    for page in PAGES
    for number, found in enumerate(BLOCK.finditer(page.read_text("utf-8")), start=1)
]
COMMANDS = [
    pytest.param(line.split(" #")[0].strip(), id=f"{snippet.name}-{line[:40].strip()}")
    for snippet in SNIPPETS
    if snippet.language == "bash" and snippet.reason is None
    for line in snippet.text.splitlines()
]
PYTHON = [
    pytest.param(snippet, id=snippet.name)
    for snippet in SNIPPETS
    if snippet.language == "python" and snippet.reason is None
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with what the docs speak of; the bundled `speech` is a tiny model."""
    folder = tmp_path_factory.mktemp("docs")
    base = tiny_model(kinds=("coarse", "fine", "acoustic_only", "parallel"))
    semantic = tiny_stage("semantic", base.codec, base.semantic, fill_in_the_middle=True)
    stages = {"semantic": semantic.rounded(), **base.stages}
    lm = AudioLM(base.codec, base.semantic, stages, name="speech")
    for name in ("models/speech", "my-model", "my-piano", "trial"):
        lm.save(folder / name)
    from audiolm.safety.detector import Detector
    from safety.made_up import CONFIG

    save_part(folder / "models" / "speech", "detector", Detector(CONFIG))
    for name in ("prompt.wav", "speech.wav", "piano.wav", "models/speech/prompt.wav"):
        noise(2.0).write(folder / name)
    for corpus in ("RECORDINGS", "HELD_BACK", "recordings", "held-out"):
        (folder / corpus).mkdir()
        for number in range(4):
            noise(1.0, number).write(folder / corpus / f"{number}.wav")
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(pretrained, "BUNDLED", place / "models")


def test_what_is_not_run_says_why() -> None:
    """One reason for a block, in words; and nothing of a language that this file does not know."""
    assert {snippet.language for snippet in SNIPPETS} <= {"bash", "python", "yaml"}
    assert all(len(snippet.reason.split()) >= 3 for snippet in SNIPPETS if snippet.reason)


def test_every_verb_is_shown() -> None:
    shown = {words[1] for s in SNIPPETS for words in re.findall(r"(audiolm) (\w+)", s.text)}
    assert shown >= set(cli.VERBS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, capsys) -> None:
    program, *words = shlex.split(command)
    assert program == "audiolm", "say why it is not run, in a comment above the block"
    if words[0] in LONG:
        check_long(words)
        return
    code = cli.main(words)
    assert code == 0, capsys.readouterr().err
    for number, word in enumerate(words):
        if word in ("-o", "--out"):
            out = Path(words[number + 1])
            assert out.exists() or out.with_name(f"{out.stem}-1{out.suffix}").exists()


def check_long(words: list[str]) -> None:
    """What the command line says of these words, and of the settings in them, before any work."""
    verb, *rest = words
    command = cli.group.get_command(None, verb)
    options = command.make_context(verb, rest).params
    only = [name for name in (options.get("only") or "").split(",") if name]
    assignments = options.get("assignments") or options.get("settings") or ()
    if verb == "train":
        load_preset(options["preset_name"], list(assignments))
        assert set(only) <= {step.name for step in STEPS}
    if verb == "evaluate":
        chosen_experiments(only)
        parse(EvaluationConfig, override({}, assignments), "--set")


@pytest.mark.parametrize("snippet", PYTHON)
def test_python(snippet: Snippet) -> None:
    exec(compile(snippet.text, snippet.name, "exec"), {})


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.language == "python"], ids=lambda s: s.name
)
def test_python_that_is_not_run_names_what_is_there(snippet: Snippet) -> None:
    compile(snippet.text, snippet.name, "exec")
    for module in re.findall(r"^(?:from|import) (audiolm[\w.]*)", snippet.text, re.MULTILINE):
        assert importlib.util.find_spec(module), module
    for method in re.findall(r"\blm\.(\w+)\(", snippet.text):
        assert hasattr(AudioLM, method), method
