"""From a folder of recordings to a model: the steps in order, each resumable, each done once.

    codec ─┐
           ├─► tokens ─► semantic, coarse, fine (and acoustic_only where a preset asks for it)
    w2v_bert ─► clustering ─┘

The model folder receives each part as it is finished. Its `training/` folder holds what training
needs to go on: the resolved preset, packed recordings, checkpoints, logs, tokens. It can be deleted
when the model is done.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

from audiolm._version import __version__
from audiolm.audio.files import replacing
from audiolm.codec import Codec
from audiolm.configuration import Configuration
from audiolm.data.corpus import Corpus, open_corpus, split_held_out
from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError, TrainingError
from audiolm.model_folder import load_part, save_part
from audiolm.part import Part
from audiolm.semantic import SemanticTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.training import distributed
from audiolm.training.clustering import cluster
from audiolm.training.codec_task import CodecTask
from audiolm.training.loop import Outcome, train
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.preset import Preset, StepName
from audiolm.training.recordings import Recordings
from audiolm.training.stage_task import StageTask
from audiolm.training.task import Task
from audiolm.training.tokenizing import tokenize_corpus
from audiolm.training.w2v_bert_task import W2vBertTask

STEPS: tuple[StepName, ...] = get_args(StepName)


@dataclass(frozen=True)
class Request:
    """What `audiolm train` was asked."""

    folder: Path
    """The recordings."""
    out: Path
    """The model folder."""
    preset: Preset
    minutes: float | None = None
    """Time for all steps that have a budget; None: each step's own."""
    only: Sequence[str] = ()
    """Steps to take; all of the recipe when empty."""
    restart: bool = False
    """Forget what the chosen steps had learnt, and begin them again."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    quiet: bool = False


def train_model(request: Request) -> dict[str, Any]:
    """Take the steps that are not done yet; returns what each came to.

    Raises:
        AudioLMError: for recordings, settings or a model folder that cannot be used.
        KeyboardInterrupt: after a checkpoint was written; the same command goes on from there.
    """
    steps = _chosen_steps(request)
    workshop = Workshop(request)
    summary: dict[str, Any] = {"model": str(request.out), "steps": {}}
    for name in steps:
        summary["steps"][name] = workshop.take(name, _minutes(request, name, steps))
    return summary


def _chosen_steps(request: Request) -> list[StepName]:
    unknown = [name for name in request.only if name not in STEPS]
    if unknown:
        raise ConfigurationError(f"--only {unknown[0]}: not a step; use some of {', '.join(STEPS)}")
    return [name for name in STEPS if name in (request.only or request.preset.recipe)]


def _minutes(request: Request, name: StepName, steps: Sequence[StepName]) -> float | None:
    """The step's part of `--minutes`, by the preset's shares."""
    if request.minutes is None:
        return None
    shares = request.preset.shares
    total = sum(shares.get(step, 1.0) for step in steps)
    return request.minutes * shares.get(name, 1.0) / total


class Workshop:
    """One training folder: recordings, the steps, and where each keeps its state."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.preset = request.preset
        self.device = request.device
        self.folder = request.out / "training"
        self.world = distributed.join(self.device)
        self.minutes: float | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.world.writes:
            resolved = self.preset.model_dump(mode="json")
            write_text(self.folder / "preset.json", json.dumps(resolved, indent=1))
        torch.manual_seed(self.preset.seed + 1000 * self.world.rank)
        self._recordings: tuple[Recordings, Recordings] | None = None

    # Each step: what it needs, what it makes.

    def take(self, name: StepName, minutes: float | None) -> dict[str, float]:
        """Take one step, or say that it is done already. Returns its figures."""
        self.minutes = minutes
        folder = self.folder / name
        marker = folder / "done.json"
        settings = self._settings(name)
        if self.request.restart and folder.exists() and self.world.writes:
            folder.rename(_free_name(folder))
        distributed.wait(self.world)
        _refuse_other_settings(folder / "settings.json", settings, name)
        if marker.exists():
            done: dict[str, Any] = json.loads(marker.read_text("utf-8"))
            if done["inputs"] == self._inputs(name) and not self._wants_more(name, done):
                self._say(f"{name}: done already ({done['seconds']:.0f} s); --restart trains anew")
                return dict(done["figures"])
            if done["inputs"] != self._inputs(name):
                raise TrainingError(
                    f"{folder}: was trained on other parts than the model folder now holds; "
                    f"give --only {name} --restart to train it anew"
                )
        inputs = self._inputs(name)
        if self.world.writes:
            write_text(folder / "settings.json", json.dumps(settings, indent=1))
        begun = time.monotonic()
        method: Callable[[Path], dict[str, float]] = {
            "codec": self.codec,
            "w2v_bert": self.w2v_bert,
            "clustering": self.clustering,
            "tokens": self.tokens,
        }.get(name, lambda place: self.stage(name, place))
        figures = method(folder)
        if self.world.writes:
            done = {
                "inputs": inputs,
                "figures": figures,
                "seconds": round(time.monotonic() - begun, 1),
                "made_by": made_by(),
            }
            write_text(marker, json.dumps(done, indent=1))
        return figures

    def codec(self, folder: Path) -> dict[str, float]:
        """Recordings → codec."""
        training = self.preset.training.codec
        train_on, judge_on = self.recordings()
        task = CodecTask(
            self.preset.codec,
            training.model_copy(update={"optimization": self._budget(training.optimization)}),
            train_on,
            judge_on,
        )
        return self._train(task, folder)

    def w2v_bert(self, folder: Path) -> dict[str, float]:
        """Recordings → the network under the semantic tokens."""
        training = self.preset.training.w2v_bert
        train_on, judge_on = self.recordings()
        task = W2vBertTask(
            self.preset.w2v_bert,
            training.model_copy(update={"optimization": self._budget(training.optimization)}),
            train_on,
            judge_on,
            self.preset.seed,
        )
        return self._train(task, folder)

    def clustering(self, folder: Path) -> dict[str, float]:
        """The network's layer → semantic tokenizer."""
        network = W2vBert(self.preset.w2v_bert)
        weights = self.folder / "w2v_bert" / "checkpoint.pt"
        if not weights.exists():
            raise TrainingError(f"{weights}: not there yet; give --only w2v_bert first")
        saved = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(saved["averaged"])
        with self._bar("clustering") as bar:
            result = cluster(
                network.to(self.device),
                self.recordings()[0],
                self.preset.training.clustering,
                self.preset.seed,
                bar,
            )
        self._keep("semantic", result.tokenizer)
        self._report("clustering", result.figures, result.alarms)
        return result.figures

    def tokens(self, folder: Path) -> dict[str, float]:
        """Recordings, codec, tokenizer → tokens on disk."""
        codec, tokenizer = self._codec(), self._tokenizer()
        figures: dict[str, float] = {}
        for name, recordings in zip(("train", "held_out"), self.recordings(), strict=True):
            with self._bar(f"tokens {name}") as bar:
                store = tokenize_corpus(
                    codec.to(self.device),
                    tokenizer.to(self.device),
                    recordings,
                    folder / name,
                    self.preset.training.tokens,
                    self.world,
                    bar,
                )
            figures |= {
                f"{name} {key}": value
                for key, value in store.statistics.items()
                if isinstance(value, int | float)
            }
        self._report("tokens", figures, [])
        return figures

    def stage(self, name: StepName, folder: Path) -> dict[str, float]:
        """Tokens → one stage."""
        if name not in self.preset.stages:
            raise ConfigurationError(f"stages.{name}: not in preset {self.preset.name}")
        prints = self._inputs(name)
        stores = [TokenStore(self.folder / "tokens" / part) for part in ("train", "held_out")]
        for store in stores:
            store.require(prints["codec"], prints["semantic"])
        config = self.preset.stages[name].model_copy(
            update={
                "codec_fingerprint": prints["codec"],
                "semantic_fingerprint": prints["semantic"],
                "semantic_rate": float(stores[0].statistics["semantic_rate"]),
            }
        )
        training = self.preset.training.stages[name]
        task = StageTask(
            name,
            config,
            training.model_copy(update={"optimization": self._budget(training.optimization)}),
            stores[0],
            stores[1],
            self.device,
            self.world.size,
            self.preset.seed,
        )
        return self._train(task, folder)

    # What the steps share.

    def recordings(self) -> tuple[Recordings, Recordings]:
        """The recordings that are trained on and those that judge, opened once."""
        if self._recordings is None:
            data = self.preset.data
            corpus = open_corpus(self.request.folder)
            if data.validation:
                parts: tuple[Corpus, Corpus] = corpus, open_corpus(Path(data.validation))
            else:
                parts = split_held_out(corpus, data.held_out, self.preset.seed)
            for reason in corpus.skipped[:10]:
                self._say(f"skipped {reason[0]}: {reason[1]}")
            if corpus.skipped:
                self._say(f"{len(corpus.skipped)} unreadable files skipped")
            train_on, judge_on = (
                Recordings.open(
                    part,
                    self.folder / "recordings" / name if data.pack else None,
                    self.device,
                    self.world,
                    self.preset.seed,
                    quiet=self.request.quiet,
                )
                for name, part in zip(("train", "held_out"), parts, strict=True)
            )
            self._recordings = train_on, judge_on
        return self._recordings

    def _train(self, task: Task, folder: Path) -> dict[str, float]:
        outcome: Outcome = train(task, folder, self.device, self.world, quiet=self.request.quiet)
        part = task.export(outcome.averaged)
        if part is not None:
            self._keep(f"stage_{task.name}" if task.name in self.preset.stages else task.name, part)
        return outcome.figures | {"steps": outcome.step, "seconds": outcome.seconds}

    def _keep(self, name: str, part: Part) -> None:
        """Put a finished part into the model folder, rounded to what the file can hold."""
        if self.world.writes:
            about = {
                "preset": self.preset.model_dump(mode="json"),
                "made_by": made_by(),
                "data": {"folder": self.request.folder.name, "recordings": self._data_summary()},
            }
            save_part(self.request.out, name, part.rounded().cpu(), about)
        distributed.wait(self.world)

    def _data_summary(self) -> dict[str, float]:
        train_on, judge_on = self.recordings()
        return {
            "train files": len(train_on),
            "train hours": round(train_on.hours, 3),
            "validation files": len(judge_on),
            "validation hours": round(judge_on.hours, 3),
        }

    def _codec(self) -> Codec:
        part = load_part(self.request.out, "codec")
        assert isinstance(part, Codec)
        return part

    def _tokenizer(self) -> SemanticTokenizer:
        part = load_part(self.request.out, "semantic")
        assert isinstance(part, SemanticTokenizer)
        return part

    def _inputs(self, name: StepName) -> dict[str, str]:
        """Fingerprints of the parts a step stands on."""
        if name in ("codec", "w2v_bert", "clustering"):
            return {}
        return {"codec": self._codec().fingerprint(), "semantic": self._tokenizer().fingerprint()}

    def _settings(self, name: StepName) -> dict[str, Any]:
        """What may not change between two sittings of one step."""
        training, preset = self.preset.training, self.preset
        steps: dict[str, tuple[Configuration | None, Configuration | None]] = {
            "codec": (preset.codec, training.codec),
            "w2v_bert": (preset.w2v_bert, training.w2v_bert),
            "clustering": (None, training.clustering),
            "tokens": (None, training.tokens),
        }
        network, how = steps.get(name, (preset.stages.get(name), training.stages.get(name)))
        chosen = {"network": network, "training": how}
        return {key: value.model_dump(mode="json") for key, value in chosen.items() if value}

    def _budget(self, config: OptimizationConfig) -> OptimizationConfig:
        if self.minutes is None:
            if config.steps is None and config.minutes is None:
                raise ConfigurationError("give --minutes, or --set ….optimization.steps=N")
            return config
        return config.model_copy(update={"minutes": self.minutes})

    def _wants_more(self, name: StepName, done: dict[str, Any]) -> bool:
        """Whether a finished training is asked to go on for longer than it did."""
        seconds = done["figures"].get("seconds")
        return bool(self.minutes and seconds and self.minutes * 60 > 1.1 * seconds)

    def _bar(self, name: str) -> "_Bar":
        return _Bar(name, self.request.quiet or not self.world.writes)

    def _say(self, message: str) -> None:
        if self.world.writes:
            tqdm.write(message, file=sys.stderr)

    def _report(self, name: str, figures: dict[str, float], alarms: list[str]) -> None:
        self._say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
        for alarm in alarms:
            self._say(f"{name}: warning: {alarm}")


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


class _Bar:
    """A progress bar that is called with the share done."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._bar: Any = tqdm(
            total=100.0,
            desc=name,
            disable=quiet,
            file=sys.stderr,
            bar_format="{desc} {percentage:5.1f}%|{bar}| {elapsed}<{remaining}",
        )

    def __enter__(self) -> Callable[[float], None]:
        return self._move

    def _move(self, share: float) -> None:
        self._bar.n = 100 * share
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _refuse_other_settings(path: Path, settings: dict[str, Any], name: str) -> None:
    """A step that was begun goes on with the settings it was begun with; its length may change."""
    if not path.exists():
        return
    before, now = _flat(json.loads(path.read_text("utf-8"))), _flat(settings)
    for key in sorted(before.keys() | now.keys()):
        if key.endswith(("optimization.steps", "optimization.minutes", "checkpoint_seconds")):
            continue
        if before.get(key) != now.get(key):
            raise ConfigurationError(
                f"{name}: {key} was {before.get(key)} when this training began and is now "
                f"{now.get(key)}; give --restart to begin again, or another --out"
            )


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix[:-1]: data}
    parts = (_flat(value, f"{prefix}{name}.") for name, value in data.items())
    return {key: value for part in parts for key, value in part.items()}


def _free_name(folder: Path) -> Path:
    number = 1
    while (free := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return free


def made_by() -> str:
    """The version, and the commit where the package runs from a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"audiolm {__version__}"
    return f"audiolm {__version__} {commit}"
