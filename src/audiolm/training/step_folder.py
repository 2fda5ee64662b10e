"""What one step of the recipe leaves on disk: its settings, its state, and whether it is done.

settings.json    what the step was begun with: going on with other settings or inputs is refused
checkpoint.pt, log.jsonl, shards of tokens: whatever the step keeps to go on from
done.json        inputs, metrics, time and maker; there when the step is finished
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audiolm.atomic import replacing
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError

MAY_CHANGE = tuple(
    f".optimization.{name}"
    for name in ("steps", "minutes", "checkpoint_seconds", "validations", "learning_rate", "clip")
)
"""Settings that may change between two sittings: how long, what is kept, and what helps after a
gradient that was not finite."""


@dataclass(frozen=True)
class Done:
    """What a finished step came to."""

    inputs: dict[str, str]
    """Fingerprints of what it stands on."""
    metrics: dict[str, float]
    seconds: float
    """Of the last sitting."""
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
        """
        path = self.path / "settings.json"
        if not path.exists():
            return
        begun_with = json.loads(path.read_text("utf-8"))
        for group in settings.keys() & begun_with.keys():
            now = settings[group]
            before = _completed(type(now), begun_with[group])
            changed = _difference(
                flat_settings(before, keys[group]), flat_settings(_plain(now), keys[group])
            )
            if changed is not None:
                key, was, is_now = changed
                raise ConfigurationError(
                    f"{path.parent}: {key} was {was} when this was begun and is now {is_now}; set "
                    f"it back, give --only {self.path.name} --restart to begin again, or name "
                    "another --out"
                )

    def begun_on(self) -> dict[str, str] | None:
        """Fingerprints of what the step stands on; None where it was not begun, or does not say."""
        done = self.done()
        if done is not None:
            return done.inputs
        try:
            content = json.loads((self.path / "settings.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        inputs: dict[str, str] | None = content.get("inputs")
        return inputs

    def begin(self, settings: Mapping[str, Configuration], inputs: Mapping[str, str]) -> None:
        """Write down settings and inputs; the step is not done until `finish`."""
        content = {group: _plain(value) for group, value in settings.items()}
        content["inputs"] = dict(inputs)
        write_text(self.path / "settings.json", json.dumps(content, indent=1))
        (self.path / "done.json").unlink(missing_ok=True)

    def done(self) -> Done | None:
        """What the step came to, if it is finished."""
        try:
            content = json.loads((self.path / "done.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        return Done(**content)

    def finish(self, done: Done) -> None:
        """The step is finished."""
        write_text(self.path / "done.json", json.dumps(asdict(done), indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


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
