"""The steps of the recipe, each on its own: what it needs, what it makes, and where that lies."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from audiolm._version import __version__
from audiolm.codec import Codec
from audiolm.data.corpus import Corpus, open_corpus, split_held_out
from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError, CorpusError, TrainingError
from audiolm.model_folder import MANIFEST, load_part, read_manifest, save_part
from audiolm.part import Part, fingerprint
from audiolm.semantic import SemanticTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.training import distributed
from audiolm.training.clustering import cluster
from audiolm.training.codec_task import CodecTask, CodecTraining
from audiolm.training.logbook import ShareBar
from audiolm.training.loop import Outcome, train
from audiolm.training.preset import Preset, StepName, step_keys, step_settings
from audiolm.training.recordings import Recordings
from audiolm.training.stage_task import StageTask, StageTraining
from audiolm.training.step_folder import StepFolder, write_text
from audiolm.training.task import Task
from audiolm.training.tokenizing import tokenize_corpus
from audiolm.training.w2v_bert_task import W2vBertTask, W2vBertTraining

T = TypeVar("T", CodecTraining, W2vBertTraining, StageTraining)


@dataclass(frozen=True)
class Request:
    """What `audiolm train` was asked."""

    folder: Path
    """The recordings."""
    out: Path
    """The model folder."""
    preset: Preset
    minutes: float | None = None
    """Time for all steps that are trained; None: each step's own."""
    only: Sequence[str] = ()
    """Steps to take; all of the recipe when empty."""
    restart: bool = False
    """Forget what the chosen steps had learnt, and begin them again."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    quiet: bool = False


class Workshop:
    """One training folder: the recordings, and what is made of them."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.preset = request.preset
        self.device = request.device
        self.folder = request.out / "training"
        self.world = distributed.join(self.device)
        self.minutes: float | None = None
        """Time for the step that is taken; None: what the preset says."""
        if self.world.writes:
            self._open_folder()
        distributed.wait(self.world)
        self._recordings: tuple[Recordings, Recordings] | None = None

    # Each step: what it needs, what it makes.

    def codec(self, folder: Path) -> dict[str, float]:
        """Recordings → codec."""
        training = self.preset.training.codec
        train_on, judge_on = self.recordings()
        task = CodecTask(
            self.preset.codec,
            self._within_budget("codec", training),
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
            self._within_budget("w2v_bert", training),
            train_on,
            judge_on,
            self.preset.seed,
        )
        return self._train(task, folder)

    def clustering(self, folder: Path) -> dict[str, float]:
        """The network's layer → semantic tokenizer."""
        trained = StepFolder(self.folder / "w2v_bert")
        trained.refuse_other(step_settings(self.preset, "w2v_bert"), step_keys("w2v_bert"))
        if trained.done() is None:
            self.say("clustering: w2v_bert is not finished; its last checkpoint is taken")
        network = W2vBert(self.preset.w2v_bert)
        network.load_state_dict(self._w2v_bert_weights())
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
        prints = self.inputs(name)
        if StepFolder(self.folder / "tokens").done() is None:
            raise TrainingError(f"{self.folder / 'tokens'}: not finished; give --only tokens first")
        stores = [TokenStore(self.folder / "tokens" / part) for part in ("train", "held_out")]
        for store in stores:
            store.require(prints.get("codec", ""), prints.get("semantic", ""))
        config = self.preset.stages[name]
        read = {
            "semantic": ("clusters",),
            "coarse": ("clusters", "codebook_size"),
            "fine": ("codebook_size", "levels"),
        }
        for key in read.get(config.layout.kind, ("codebook_size",)):
            held, asked = getattr(stores[0].format, key), getattr(config.layout, key)
            if held != asked:
                raise ConfigurationError(
                    f"stages.{name}.layout.{key}: is {asked}, but the tokens have {held}; set it "
                    "to that"
                )
        config = config.model_copy(
            update={
                "codec_fingerprint": prints.get("codec", ""),
                "semantic_fingerprint": prints.get("semantic", ""),
                "semantic_rate": float(stores[0].statistics["semantic_rate"]),
            }
        )
        training = self.preset.training.stages.get(name, StageTraining())
        task = StageTask(
            name,
            config,
            self._within_budget(name, training),
            stores[0],
            stores[1],
            self.device,
            self.world.size,
            self.preset.seed,
        )
        return self._train(task, folder)

    # What the steps share.

    def inputs(self, name: StepName) -> dict[str, str]:
        """Fingerprints of what a step stands on."""
        if name in ("codec", "w2v_bert"):
            return {}
        if name == "clustering":
            return {"w2v_bert": fingerprint({}, self._w2v_bert_weights())}
        prints = {}
        if name != "semantic":
            prints["codec"] = self._codec().fingerprint()
        if name in ("tokens", "semantic", "coarse"):
            prints["semantic"] = self._tokenizer().fingerprint()
        return prints

    def recordings(self) -> tuple[Recordings, Recordings]:
        """The recordings that are trained on and those that judge, opened once."""
        if self._recordings is None:
            data = self.preset.data
            corpus = open_corpus(self.request.folder)
            if data.validation:
                parts: tuple[Corpus, Corpus] = corpus, open_corpus(Path(data.validation))
            else:
                parts = split_held_out(corpus, data.held_out, self.preset.seed)
            if not parts[1].recordings:
                raise CorpusError(
                    f"{corpus.root}: has a single speaker or recording, which leaves none to judge "
                    "by; add recordings, or name a folder of others with --validation"
                )
            train_on, judge_on = (
                Recordings.open(
                    part,
                    self.folder / "recordings" / name if data.pack else None,
                    self.device,
                    self.world,
                    self.preset.seed,
                    quiet=self.request.quiet or not self.world.writes,
                )
                for name, part in zip(("train", "held_out"), parts, strict=True)
            )
            self._recordings = train_on, judge_on
            self._report_skipped(
                [
                    reason
                    for part, opened in zip(parts, self._recordings, strict=True)
                    for _, reason in [*part.skipped, *getattr(opened.store, "skipped", [])]
                ]
            )
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
                "preset": self._preset_to_share(),
                "made_by": made_by(),
                "data": {
                    "folder": self.request.folder.resolve().name,
                    "recordings": self._data_summary(),
                },
            }
            save_part(self.request.out, name, part.rounded().cpu(), about)
        distributed.wait(self.world)

    def _preset_to_share(self) -> dict[str, Any]:
        """The preset as a model folder tells it: folders by name, not where they lie here."""
        preset = self.preset.model_dump(mode="json")
        if self.preset.data.validation:
            preset["data"]["validation"] = Path(self.preset.data.validation).resolve().name
        return preset

    def _data_summary(self) -> dict[str, float]:
        train_on, judge_on = self.recordings()
        return {
            "train files": len(train_on),
            "train hours": round(train_on.hours, 3),
            "validation files": len(judge_on),
            "validation hours": round(judge_on.hours, 3),
        }

    def _codec(self) -> Codec:
        part = self._part("codec", "codec")
        assert isinstance(part, Codec)
        return part

    def _tokenizer(self) -> SemanticTokenizer:
        part = self._part("semantic", "w2v_bert,clustering")
        assert isinstance(part, SemanticTokenizer)
        return part

    def _part(self, name: str, steps: str) -> Part:
        """A part that earlier steps have put into the model folder."""
        out = self.request.out
        if not (out / MANIFEST).exists() or name not in read_manifest(out).parts:
            raise TrainingError(f"{out}: there is no {name} in it yet; give --only {steps} first")
        return load_part(out, name)

    def _w2v_bert_weights(self) -> dict[str, Tensor]:
        """The averaged weights of the network under the semantic tokens."""
        path = self.folder / "w2v_bert" / "checkpoint.pt"
        if not path.exists():
            raise TrainingError(f"{path}: is not there yet; give --only w2v_bert first")
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        weights: dict[str, Tensor] = saved["averaged"]
        return weights

    def _within_budget(self, name: StepName, training: T) -> T:
        """Its settings, with the time that `--minutes` gives it."""
        optimization = training.optimization
        if self.minutes is not None:
            optimization = optimization.model_copy(update={"minutes": self.minutes})
        if optimization.steps is None and optimization.minutes is None:
            key = f"{step_keys(name)['training']}.optimization"
            raise ConfigurationError(f"{key}: how long? Give --minutes, or --set {key}.steps=N")
        return training.model_copy(update={"optimization": optimization})

    def _open_folder(self) -> None:
        """Make the training folder, in a model folder or a new one."""
        out = self.request.out
        try:
            ours = (out / MANIFEST).exists() or self.folder.exists()
            if out.is_dir() and any(out.iterdir()) and not ours:
                raise TrainingError(
                    f"{out}: is not empty and not a model; name a new or empty folder with --out"
                )
            resolved = self.preset.model_dump(mode="json")
            write_text(self.folder / "preset.json", json.dumps(resolved, indent=1))
        except OSError as error:
            raise TrainingError(
                f"{out}: cannot be written ({error.strerror}); name another folder with --out"
            ) from None

    def _bar(self, name: str) -> ShareBar:
        return ShareBar(name, self.request.quiet or not self.world.writes)

    def say(self, message: str) -> None:
        """Tell the user, unless they want quiet."""
        if not self.request.quiet:
            self._warn(message)

    def _warn(self, message: str) -> None:
        """Tell the user in any case."""
        if self.world.writes:
            tqdm.write(message, file=sys.stderr)

    def _report(self, name: str, figures: dict[str, float], alarms: list[str]) -> None:
        self.say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
        for alarm in alarms:
            self._warn(f"{name}: warning: {alarm}")

    def _report_skipped(self, reasons: list[str]) -> None:
        """Say how many files are left out, and list them in a file."""
        if reasons and self.world.writes:
            path = self.folder / "skipped.txt"
            write_text(path, "\n".join(reasons))
            self._warn(
                f"recordings: warning: {len(reasons)} files cannot be read and are left out, "
                f"listed in {path}; the first: {reasons[0]}"
            )


def made_by() -> str:
    """The version, and the commit where the package runs from a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h", "--abbrev=12", "--", "."],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return f"audiolm {__version__} {commit}".rstrip()
