"""What model.json says about how a model was made: from which settings, code and recordings."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiolm._version import __version__
from audiolm.data.names import printable
from audiolm.training.preset import Preset


def about_model(preset: Preset, folder: Path, recordings: Mapping[str, float]) -> dict[str, Any]:
    """What model.json says beside the parts.

    Args:
        preset: the resolved settings.
        folder: the recordings; only its name is told.
        recordings: how many they are, in files and hours.
    """
    return {
        "preset": _preset_to_share(preset),
        "made_by": made_by(),
        "data": {"folder": printable(folder.resolve().name), "recordings": dict(recordings)},
    }


def _preset_to_share(preset: Preset) -> dict[str, Any]:
    """The preset as a model folder tells it: folders by name, not where they lie here."""
    shared = preset.model_dump(mode="json")
    if preset.data.validation:
        shared["data"]["validation"] = printable(Path(preset.data.validation).resolve().name)
    return shared


def made_by() -> str:
    """The version, and the commit where the package runs from a checkout."""
    package = Path(__file__).parent.parent
    try:
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h", "--abbrev=12", "--", "."],
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return f"audiolm {__version__} {commit}".rstrip()
