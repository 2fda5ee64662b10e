"""The model folder that a training fills part by part, and the model that it may start from."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import device as Device

from audiolm._version import __version__
from audiolm.codec import Codec
from audiolm.data.names import printable
from audiolm.errors import TrainingError
from audiolm.model_io.folder import load_part, save_part
from audiolm.model_io.manifest import MANIFEST, read_manifest
from audiolm.part import Dtype, Part
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import Stage
from audiolm.training import distributed
from audiolm.training.distributed import World

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


_SPOKEN = {"semantic": "semantic tokenizer"}
"""What a part is called where its name alone could be taken for another."""


class ModelParts:
    """Parts that are there, parts that are finished, parts that are copied.

    Args:
        out: the model folder.
        start: the model to start from, or None.
        about: what model.json is to say beside the parts; asked when a part is kept.
        world: the processes that train together.
        device: where they compute.
        say: tells the user.

    Raises:
        ModelFolderError: when `start` is no model.
    """

    def __init__(
        self,
        out: Path,
        start: Path | None,
        about: Callable[[], dict[str, Any]],
        world: World,
        device: Device,
        say: Callable[[str], None],
    ) -> None:
        self.out, self.start = out, start
        self.about, self.world, self.device, self.say = about, world, device, say
        if start is not None:
            read_manifest(start)  # what is no model is told before any work

    def codec(self, steps: str = "codec") -> Codec:
        """The codec; see `part`."""
        part = self.part("codec", steps)
        assert isinstance(part, Codec)
        return part

    def tokenizer(self, steps: str = "w2v_bert,clustering") -> SemanticTokenizer:
        """The semantic tokenizer; see `part`."""
        part = self.part("semantic", steps)
        assert isinstance(part, SemanticTokenizer)
        return part

    def part(self, name: str, steps: str) -> Part:
        """A part of the model folder; one that no step has made is that of the model to start from.

        Args:
            name: as the model folder calls it.
            steps: of the recipe that would make it, as `--only` takes them.

        Raises:
            TrainingError: when neither model has it.
        """
        there = self._is_there(name)
        # All go by what rank 0 sees: it may have written the part before another looks.
        if not distributed.agree(float(there), self.world, self.device):
            start = self.to_start_from(name)
            if start is None:
                raise TrainingError(
                    f"{self.out}: there is no {_SPOKEN.get(name, name)} in it yet; "
                    f"give --only {steps} first"
                )
            self._copy(name, start)
        return load_part(self.out, name)

    def has(self, name: str) -> bool:
        """Whether `part` would find it: in the model folder, or in the model to start from."""
        return self._is_there(name) or self.to_start_from(name) is not None

    def _is_there(self, name: str) -> bool:
        return (self.out / MANIFEST).exists() and name in read_manifest(self.out).parts

    def keep(self, name: str, part: Part, dtype: Dtype) -> None:
        """Put a part into the model folder, its weights as `dtype` or smaller where that is exact.

        Every rank calls this, and the first one writes.
        """
        if self.world.writes:
            about = self.about()
            about["data"] |= self._origin()
            save_part(self.out, name, part, about, dtype)
        distributed.wait(self.world)

    def to_start_from(self, part: str) -> Path | None:
        """The model to start from, where it has this part."""
        has = self.start is not None and part in read_manifest(self.start).parts
        return self.start if has else None

    def copy_stages(self) -> None:
        """Copy the stages of the model to start from that no step has made.

        Only those that were trained on the codec and the tokenizer that are in the model folder.
        Where the decoder alone was trained, codes mean what they meant: the tokenizer comes along,
        and the stages are told of the new codec.
        """
        if self.start is None or not (self.out / MANIFEST).exists():
            return
        renewed = self._renewed_codec(self.start)
        if renewed:
            self.tokenizer()
        here, given = read_manifest(self.out).parts, read_manifest(self.start).parts
        prints = {"", *renewed}
        prints |= {here[name].fingerprint for name in ("codec", "semantic") if name in here}
        distributed.wait(self.world)  # all have read what is here, before one writes
        for name, entry in given.items():
            reads = {entry.config.get(f"{part}_fingerprint") for part in ("codec", "semantic")}
            if name not in here and reads <= prints:
                self._copy(name, self.start, renewed)

    def _renewed_codec(self, start: Path) -> dict[str, str]:
        """The codec of `start` and the one that is here, if only their decoders differ."""
        here, given = read_manifest(self.out).parts, read_manifest(start).parts
        if "codec" not in here or "codec" not in given:
            return {}
        if here["codec"].fingerprint == given["codec"].fingerprint:
            return {}
        ours, theirs = (load_part(folder, "codec") for folder in (self.out, start))
        assert isinstance(ours, Codec)
        assert isinstance(theirs, Codec)
        if ours.codes_fingerprint() != theirs.codes_fingerprint():
            return {}
        return {given["codec"].fingerprint: here["codec"].fingerprint}

    def _copy(self, name: str, start: Path, renewed: Mapping[str, str] | None = None) -> None:
        """Copy a part of the model to start from, with the very numbers that its file holds.

        Args:
            name: of the part.
            start: the model.
            renewed: codecs that a stage may name, and what it is to name in their place.
        """
        part = load_part(start, name)
        if isinstance(part, Stage):
            named = part.config.codec_fingerprint
            now = (renewed or {}).get(named, named)
            part.config = part.config.model_copy(update={"codec_fingerprint": now})
        self.keep(name, part, "float32")  # in a smaller file where that is exact
        self.say(f"{name}: copied from {start}")

    def _origin(self) -> dict[str, str]:
        """The model that this one started from, now or when it was begun."""
        if self.start is not None:
            return {"started_from": printable(read_manifest(self.start).name)}
        if not (self.out / MANIFEST).exists():
            return {}
        told = read_manifest(self.out).data
        return {key: told[key] for key in ("started_from",) if key in told}


def lacking(out: Path) -> list[str]:
    """The parts that no continuation can do without, and that a model folder does not have yet."""
    parts = read_manifest(out).parts if (out / MANIFEST).exists() else {}
    needed = ("codec", "semantic", "stage_semantic", "stage_coarse")  # fine: as in the piano model
    return [name for name in needed if name not in parts]


def about_model(preset: "Preset", folder: Path, recordings: Mapping[str, float]) -> dict[str, Any]:
    """What model.json says beside the parts.

    Args:
        preset: the resolved settings.
        folder: the recordings; only its name is told.
        recordings: how many they are, in files and hours.
    """
    return {
        "preset": _preset_to_share(preset),
        "made_by": made_by(),
        "prompt_seconds": preset.prompt_seconds,
        "seconds": preset.seconds,
        "sampling": {
            kind: sampling.model_dump(exclude_unset=True)
            for kind, sampling in preset.sampling.items()
        },
        "levels": preset.levels,
        "acoustic": preset.acoustic,
        "data": {"folder": printable(folder.resolve().name), "recordings": dict(recordings)},
    }


def _preset_to_share(preset: "Preset") -> dict[str, Any]:
    """The preset as a model folder tells it: folders by name, not where they lie here."""
    shared = preset.model_dump(mode="json")
    if preset.data.validation:
        shared["data"]["validation"] = printable(Path(preset.data.validation).resolve().name)
    if preset.training.tokens.store:
        name = printable(Path(preset.training.tokens.store).resolve().name)
        shared["training"]["tokens"]["store"] = name
    return shared


def made_by() -> str:
    """The version, and the commit where the package runs from a checkout.

    Where the package differs from that commit the commit is followed by "-dirty", git's word for
    it, and by what that means.
    """
    commit = _git("log", "-1", "--format=%h", "--abbrev=12", "--", ".")
    if not commit:
        return f"audiolm {__version__}"
    changed = _git("status", "--porcelain", "--", ".")
    return f"audiolm {__version__} {commit}" + ("-dirty (uncommitted changes)" if changed else "")


def _git(*words: str) -> str:
    """What git says of the package's folder; nothing where there is no git or no repository."""
    try:
        return subprocess.run(
            ["git", *words],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
