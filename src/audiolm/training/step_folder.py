"""What one step of the recipe leaves on disk: its settings, its state, and whether it is done.

settings.json    what the step was begun with: going on with other settings or inputs is refused
checkpoint.pt, log.jsonl, shards of tokens: whatever the step keeps to go on from
done.json        inputs, metrics, time and maker; there when the step is finished

A `done.json` that a power cut or a full disk has left broken counts as none: the step then goes on
from what else it keeps. Without `settings.json` nobody knows what it was begun with, and that is
said.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audiolm.atomic import replacing
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError, TrainingError

MAY_CHANGE = tuple(
    f".optimization.{name}"
    for name in ("steps", "minutes", "checkpoint_seconds", "validations", "learning_rate", "clip")
)
"""Settings that may change when a step is gone on with: how long, what is kept, and what helps
after a gradient that was not finite."""


@dataclass(frozen=True)
class Done:
    """What a finished step came to."""

    inputs: dict[str, str]
    """Fingerprints of what it stands on."""
    metrics: dict[str, float]
    seconds: float
    """Since it was last begun or gone on with."""
    made_by: str


@dataclass(frozen=True)
class StepFolder:
    """The folder of one step."""

    path: Path

    def set_aside(self) -> None:
        """Rename the folder, so that the step begins anew and nothing is lost."""
        if not self.path.exists():
            return
        number = 1
        while (free := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        self.path.rename(free)

    def refuse_other(self, settings: Mapping[str, Configuration], keys: Mapping[str, str]) -> None:
        """Make sure that the step goes on with the settings it was begun with.

        Settings that this version knows and the one that began did not have their default there.

        Args:
            settings: by group.
            keys: what the user calls each group: where it stands in a preset.

        Raises:
            ConfigurationError: naming the first key that differs, and may not.
            TrainingError: when the settings that it was begun with cannot be read.
        """
        begun_with = self._begun_with()
        for group in settings.keys() & begun_with.keys():
            now = settings[group]
            before = _completed(type(now), begun_with[group])
            changed = _difference(
                flat_settings(before, keys[group]), flat_settings(_plain(now), keys[group])
            )
            if changed is not None:
                key, was, is_now = changed
                raise ConfigurationError(
                    f"{self.path}: {key} was {was} when this was begun and is now {is_now}; set "
                    f"it back, give --only {self.path.name} --restart to begin again, or name "
                    "another --out"
                )

    def begun_on(self) -> dict[str, str] | None:
        """Fingerprints of what the step stands on; None where it was not begun, or does not say."""
        done = self.done()
        if done is not None:
            return done.inputs
        inputs: dict[str, str] | None = self._begun_with().get("inputs")
        return inputs

    def refuse_other_inputs(self, inputs: Mapping[str, str]) -> None:
        """Make sure that the step, if it was begun, stands on what it was begun on.

        Args:
            inputs: fingerprints of what it stands on, by name.

        Raises:
            TrainingError: when one of them is another now.
        """
        before, now = self.begun_on(), dict(inputs)
        if before is None:
            return
        again = f"--only {self.path.name} --restart"
        if "recordings" not in before:  # of a version that did not write them down
            now.pop("recordings", None)
        if before.get("recordings") != now.pop("recordings", None):
            raise TrainingError(
                f"{self.path}: was begun with other recordings than are there now; put those back, "
                f"or give {again} to begin again with these"
            )
        if {name: value for name, value in before.items() if name != "recordings"} != now:
            raise TrainingError(
                f"{self.path}: was made from other parts than are there now; give {again} to make "
                "it anew"
            )

    def begin(self, settings: Mapping[str, Configuration], inputs: Mapping[str, str]) -> None:
        """Write down settings and inputs; the step is not done until `finish`."""
        content = {group: _plain(value) for group, value in settings.items()}
        content["inputs"] = dict(inputs)
        write_text(self.path / "settings.json", json.dumps(content, indent=1))
        (self.path / "done.json").unlink(missing_ok=True)

    def done(self) -> Done | None:
        """What the step came to, if it is finished."""
        try:
            return Done(**json.loads((self.path / "done.json").read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):  # empty, cut off, or not what we wrote: finish it again
            return None

    def finish(self, done: Done) -> None:
        """The step is finished."""
        write_text(self.path / "done.json", json.dumps(asdict(done), indent=1))

    def _begun_with(self) -> dict[str, Any]:
        """What `begin` wrote down; nothing where the step was not begun."""
        path = self.path / "settings.json"
        try:
            content = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise TrainingError(
                f"{path}: is empty or broken; delete it if the settings are those the step was "
                f"begun with, or give --only {self.path.name} --restart to begin again"
            )
        return content


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        # A file's name may hold bytes that are no UTF-8; they are written as they are.
        draft.write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _plain(settings: Configuration) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _completed(cls: type[Configuration], data: dict[str, Any]) -> dict[str, Any]:
    """Settings of an earlier version as this one understands them, or as they are."""
    try:
        return _plain(cls.model_validate(data))
    except ValidationError:
        return data


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key that differs, with both values."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key) and not key.endswith(MAY_CHANGE):
            return key, before.get(key), now.get(key)
    return None


def flat_settings(data: Any, key: str) -> dict[str, Any]:
    """Nested settings as dotted keys below `key`, which may be empty."""
    if not isinstance(data, dict):
        return {key: data}
    parts = (flat_settings(value, f"{key}.{name}".lstrip(".")) for name, value in data.items())
    return {name: value for part in parts for name, value in part.items()}
