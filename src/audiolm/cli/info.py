"""`audiolm info`: what a model is made of."""

from typing import Any

import click

from audiolm.cli.options import Settings, common_options


@click.command("info")
@click.argument("name", metavar="[MODEL]", required=False)
@common_options
def command(settings: Settings, name: str | None) -> None:
    """Say what MODEL is made of: parts, sizes, fingerprints, data, licence."""
    from audiolm.model_io.folder import count_parameters
    from audiolm.model_io.manifest import read_manifest
    from audiolm.pretrained import find

    folder = find(name or settings.model)
    manifest = read_manifest(folder)
    parts = {
        part: {
            "kind": entry.kind,
            "parameters": count_parameters(folder, entry),
            "bytes": (folder / entry.file).stat().st_size,
            "fingerprint": entry.fingerprint,
        }
        for part, entry in manifest.parts.items()
    }
    report: dict[str, Any] = {
        "name": manifest.name,
        "folder": str(folder),
        "format_version": manifest.format_version,
        "fingerprint": manifest.fingerprint,
        "sample_rate": manifest.sample_rate,
        "parts": parts,
        **manifest.info.model_dump(mode="json"),
    }
    settings.tell(report, list(_lines(report)))


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for people; whole settings are for `--json`."""
    parts: dict[str, dict[str, Any]] = report["parts"]
    total = sum(part["parameters"] for part in parts.values())
    size = sum(part["bytes"] for part in parts.values())
    facts = {
        "model": f"{report['name']} ({report['folder']})",
        "fingerprint": report["fingerprint"],
        "preset": report["preset"].get("name", "not stated"),
        "data": ", ".join(f"{key} {value}" for key, value in report["data"].items())
        or "not stated",
        "licence": report["licence"] or "not stated",
        "made by": report["made_by"] or "not stated",
        "size": f"{total / 1e6:.1f} M parameters, {size / 1e6:.1f} MB",
    }
    head = [f"{key:12} {value}" for key, value in facts.items()]
    rows = [
        f"{name:20} {part['kind']:14} {part['parameters'] / 1e6:8.2f} M "
        f"{part['bytes'] / 1e6:8.2f} MB  {part['fingerprint'][:16]}"
        for name, part in parts.items()
    ]
    return [
        *head,
        "",
        f"{'part':20} {'kind':14} {'parameters':>10} {'on disk':>11}  fingerprint",
        *rows,
    ]
