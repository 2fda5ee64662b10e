"""The steps of the recipe, each on its own: what it needs, what it makes, and where that lies."""

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError, TrainingError
from audiolm.model_io.folder import load_part, save_part
from audiolm.model_io.manifest import MANIFEST, read_manifest
from audiolm.part import fingerprint
from audiolm.semantic import SemanticTokenizer
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
from audiolm.stages import Stage
from audiolm.training import distributed
from audiolm.training.about import about_model
from audiolm.training.clustering import Clustering, ClusteringConfig, cluster
from audiolm.training.codec_task import CodecTask, CodecTraining
from audiolm.training.loop import Outcome, train
from audiolm.training.messages import Messages
from audiolm.training.model_parts import ModelParts
from audiolm.training.new_ids import Shares, shares_of_old_ids
from audiolm.training.opening import Opened, open_recordings
from audiolm.training.preset import (
    STEPS,
    Preset,
    StepName,
    is_stage,
    step_keys,
    step_settings,
)
from audiolm.training.recordings import Recordings
from audiolm.training.stage_task import StageTask, StageTraining
from audiolm.training.start import start_conformer, start_from
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
    start: Path | None = None
    """A model folder whose weights to start from, and whose parts to copy where no step makes them;
    None: from nothing. A step that has a checkpoint goes on from that."""
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
        self.messages = Messages(quiet=request.quiet, writes=self.world.writes)
        self.parts = ModelParts(
            request.out, request.start, self._about, self.world, self.device, self.messages.say
        )
        self.minutes: float | None = None
        """Time for the step that is taken; None: what the preset says."""
        if self.world.writes:
            self._open_folder()
        distributed.wait(self.world)
        self._opened: Opened | None = None

    # Each step: what it needs, what it makes.

    def codec(self, folder: Path) -> dict[str, float]:
        """Recordings → codec."""
        training = self.preset.training.codec
        train_on, validate_on = self.recordings()
        if training.decoder_only and not (_resumes(folder) or self.parts.to_start_from("codec")):
            raise ConfigurationError(
                "training.codec.decoder_only: needs a codec to go on from; give --from MODEL"
            )
        task = CodecTask(
            self.preset.codec,
            self._within_budget("codec", training),
            train_on,
            validate_on,
        )
        self._start(task, folder)
        return self._train(task, folder)

    def w2v_bert(self, folder: Path) -> dict[str, float]:
        """Recordings → the network under the semantic tokens."""
        training = self.preset.training.w2v_bert
        train_on, validate_on = self.recordings()
        task = W2vBertTask(
            self.preset.w2v_bert,
            self._within_budget("w2v_bert", training),
            train_on,
            validate_on,
            self.preset.seed,
        )
        self._start(task, folder)
        return self._train(task, folder)

    def clustering(self, folder: Path) -> dict[str, float]:
        """The network's layer → semantic tokenizer, which a second round's is to replace."""
        config = self.preset.training.clustering
        result = self._cluster("w2v_bert", self.preset.w2v_bert, config, folder)
        second = StepFolder(self.folder / "second_clustering").done()
        if second is None or "second_clustering" not in self.preset.recipe:
            self.parts.keep("semantic", result.tokenizer, self.preset.storage)
        return result.metrics

    def second_round(self, folder: Path) -> dict[str, float]:
        """Recordings, first tokenizer → the network again, with that one's ids as targets."""
        config, training = self.preset.second_round, self.preset.training.second_round
        assert config is not None
        first = self._first_tokenizer().to(self.device)
        targets = []
        for name, recordings in zip(("train", "validation"), self.recordings(), strict=True):
            place, settings = folder / "targets" / name, self.preset.training.tokens
            with self.messages.bar(f"targets {name}") as bar:
                # Where all are there, this makes sure that they are of these recordings.
                store = tokenize_corpus(None, first, recordings, place, settings, self.world, bar)
            targets.append(store)
        task = W2vBertTask(
            config,
            self._within_budget("second_round", training),
            *self.recordings(),
            self.preset.seed,
            (targets[0], targets[1]),
        )
        start_conformer(task.network, first, "second_round: the first tokenizer")
        return self._train(task, folder)

    def second_clustering(self, folder: Path) -> dict[str, float]:
        """The second round's layer → semantic tokenizer."""
        config, second = self.preset.training.second_clustering, self.preset.second_round
        assert second is not None
        result = self._cluster("second_round", second, config, folder)
        self.parts.keep("semantic", result.tokenizer, self.preset.storage)
        return result.metrics

    def _cluster(
        self, trained_by: StepName, network: W2vBertConfig, config: ClusteringConfig, folder: Path
    ) -> Clustering:
        """Make a tokenizer of a trained network, and keep it with the step for a second round."""
        trained = StepFolder(self.folder / trained_by)
        trained.refuse_other(step_settings(self.preset, trained_by), step_keys(trained_by))
        if trained.done() is None:
            self.messages.say(
                f"{folder.name}: {trained_by} is not finished; its last checkpoint is taken"
            )
        built = W2vBert(network)
        built.load_state_dict(self._w2v_bert_weights(trained_by))
        with self.messages.bar(folder.name) as bar:
            result = cluster(
                built.to(self.device), self.recordings()[0], config, self.preset.seed, bar
            )
        if self.world.writes:
            save_part(folder, "semantic", result.tokenizer, dtype=self.preset.storage)
        self.messages.report(folder.name, result.metrics, result.warnings)
        return result

    def _first_tokenizer(self) -> W2vBertTokenizer:
        """The tokenizer that the first clustering made, or else that of the model to start from."""
        folder = self.folder / "clustering"
        if not (folder / MANIFEST).exists():
            start = self.parts.to_start_from("semantic")
            if start is not None:
                folder = start
        if not (folder / MANIFEST).exists():
            again = " --restart" if StepFolder(folder).done() else ""  # made by an earlier version
            raise TrainingError(
                f"{folder}: holds no tokenizer yet; give --only clustering{again} first"
            )
        part = load_part(folder, "semantic")
        assert isinstance(part, W2vBertTokenizer)
        return part

    def tokens(self, folder: Path) -> dict[str, float]:
        """Recordings, codec, tokenizer → tokens on disk; no codes where no stage is to read any."""
        codec = self.parts.codec().to(self.device) if self._wants_codes() else None
        tokenizer = self.parts.tokenizer().to(self.device)
        metrics: dict[str, float] = {}
        train_on, validate_on = self.recordings()
        train_on = train_on.at_speeds(self.preset.training.tokens.speed_perturbation)
        for name, recordings in (("train", train_on), ("validation", validate_on)):
            with self.messages.bar(f"tokens {name}") as bar:
                store = tokenize_corpus(
                    codec,
                    tokenizer,
                    recordings,
                    folder / name,
                    self.preset.training.tokens,
                    self.world,
                    bar,
                )
            metrics |= {
                f"{name} {key}": value
                for key, value in store.statistics.items()
                if isinstance(value, int | float)
            }
        self.messages.report("tokens", metrics)
        return metrics

    def stage(self, name: StepName, folder: Path) -> dict[str, float]:
        """Tokens → one stage."""
        prints = self.inputs(name)
        if StepFolder(self.folder / "tokens").done() is None:
            raise TrainingError(f"{self.folder / 'tokens'}: not finished; give --only tokens first")
        stores = [TokenStore(self.folder / "tokens" / part) for part in ("train", "validation")]
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
        self._start(task, folder)
        return self._train(task, folder)

    # What the steps share.

    def inputs(self, name: StepName) -> dict[str, str]:
        """Fingerprints of what a step stands on."""
        if name in ("codec", "w2v_bert"):
            return {}
        if name == "clustering":
            return {"w2v_bert": fingerprint({}, self._w2v_bert_weights("w2v_bert"))}
        if name == "second_round":
            return {"semantic": self._first_tokenizer().fingerprint()}
        if name == "second_clustering":
            return {"second_round": fingerprint({}, self._w2v_bert_weights("second_round"))}
        prints = {}
        if name != "semantic" and (name != "tokens" or self._wants_codes()):
            prints["codec"] = self.parts.codec().fingerprint()
        if name in ("tokens", "semantic", "coarse"):
            prints["semantic"] = self.parts.tokenizer().fingerprint()
        return prints

    def recordings(self) -> tuple[Recordings, Recordings]:
        """The recordings that are trained on and those that judge."""
        return self._recordings().both

    def _wants_codes(self) -> bool:
        """Whether tokens need codes: not where the semantic stage is the only one to be trained."""
        steps = {*self.preset.recipe, *self.request.only}
        return {name for name in STEPS if name in steps and is_stage(name)} != {"semantic"}

    def _recordings(self) -> Opened:
        """All of them, opened once."""
        if self._opened is None:
            self._opened = open_recordings(
                self.request.folder,
                self.preset.data,
                self.folder / "recordings",
                self.device,
                self.world,
                self.preset.seed,
                self.messages.quiet,
            )
            self.messages.report_skipped(
                self._opened.skipped, self.folder / "skipped.txt", self._opened.left_out
            )
        return self._opened

    def _start(self, task: Task, folder: Path) -> None:
        """Take the first weights from the model that `--from` names, where it has them."""
        part = _part_made_by(task.name)
        start = self.parts.to_start_from(part)
        if start is not None and not _resumes(folder):
            network = next(iter(task.networks.values()))
            shares = self._shares_of_old_ids(start, network) if isinstance(network, Stage) else None
            start_from(start, part, network, shares)
            self.messages.say(f"{task.name}: starts from the {part} of {start}")

    def _shares_of_old_ids(self, start: Path, stage: Stage) -> Shares | None:
        """What became of the ids that the stage of `start` knows; None where they are the same."""
        ours, old = stage.config.semantic_fingerprint, self.parts.to_start_from("semantic")
        if not ours or old is None:
            return None
        if read_manifest(start).parts["semantic"].fingerprint == ours:
            return None
        tokenizer = load_part(old, "semantic", self.device)
        assert isinstance(tokenizer, SemanticTokenizer)
        self.messages.say(f"{start}: its semantic ids are others; hearing which became which")
        tokens = TokenStore(self.folder / "tokens" / "train")
        return shares_of_old_ids(tokenizer, tokens, self.recordings()[0])

    def _train(self, task: Task, folder: Path) -> dict[str, float]:
        outcome: Outcome = train(task, folder, self.device, self.world, quiet=self.request.quiet)
        part = task.export(outcome.averaged)
        if part is not None:
            self.parts.keep(_part_made_by(task.name), part, self.preset.storage)
        return outcome.metrics | {"steps": outcome.step, "seconds": outcome.seconds}

    def _about(self) -> dict[str, Any]:
        """What model.json says beside the parts."""
        return about_model(self.preset, self.request.folder, self._recordings().summary())

    def _w2v_bert_weights(self, trained_by: StepName) -> dict[str, Tensor]:
        """The averaged weights of the network under the semantic tokens."""
        path = self.folder / trained_by / "checkpoint.pt"
        if not path.exists():
            raise TrainingError(f"{path}: is not there yet; give --only {trained_by} first")
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
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # another folder is not what helps
            raise TrainingError(
                f"{out}: cannot be written ({error.strerror}); name another folder with --out"
            ) from None


def _resumes(folder: Path) -> bool:
    """Whether a step goes on from a checkpoint of its own."""
    return (folder / "checkpoint.pt").exists()


def _part_made_by(task: str) -> str:
    """The part that comes of a training task, as the model folder calls it."""
    return {"codec": "codec", "w2v_bert": "semantic"}.get(task, f"stage_{task}")
