"""Build the site from docs/, into build/site: `make docs`, or

    python scripts/build_site.py [--no-sound]

docs/ is written to be read in the repository, and links to files beside it. Here it is laid out as
a site: those files become pages of their own, and links are turned to them. The bundled model makes
what the first page plays. Links that lead nowhere, and names that are not there, end it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash", "": "text"}


def lay_out(root: Path, to: Path) -> None:
    """Lay docs/ out as the source of a site; links out of it become links to pages in it.

    Args:
        root: the repository.
        to: a folder, which is emptied.
    """
    docs = root / "docs"
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(docs, to)
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(root / name, to / name)
    for page in sorted(to.rglob("*.md")):
        original = docs / page.relative_to(to)
        if not original.exists():
            original = root / page.name
        page.write_text(_turned(original, page, root, to), encoding="utf-8")


def _turned(original: Path, page: Path, root: Path, to: Path) -> str:
    """A page with its links as the site has them; what they lead to is laid out, too."""

    def turn(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        file = (original.parent / target).resolve()
        if "://" in target or target.startswith("mailto:") or not file.exists():
            return match[0]  # the builder says what leads nowhere
        place = _place(file, root, to)
        return Path(os.path.relpath(place, page.parent)).as_posix() + anchor

    return LINK.sub(turn, original.read_text(encoding="utf-8"))


def _place(file: Path, root: Path, to: Path) -> Path:
    """Where a file of the repository is in the site; it is laid out where it is not yet."""
    docs = root / "docs"
    if file.is_relative_to(docs):
        return to / file.relative_to(docs)
    if file.name in ("CONTRIBUTING.md", "CHANGELOG.md") and file.parent == root:
        return to / file.name
    name = file.relative_to(root)
    place = to / "repository" / (name if file.suffix == ".md" else Path(f"{name}.md"))
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".md":
        place.touch()  # pages may lead to each other in a circle
        place.write_text(_turned(file, place, root, to), encoding="utf-8")
    elif file.is_dir():
        lines = [f"# {name}", ""]
        for path in sorted(file.iterdir()):
            if path.suffix in (".py", ".md", ".yaml"):
                address = os.path.relpath(_place(path, root, to), place.parent)
                lines.append(f"- [{path.name}]({Path(address).as_posix()})")
        place.write_text("\n".join([*lines, ""]), encoding="utf-8")
    else:
        text = file.read_text(encoding="utf-8")
        language = LANGUAGES.get(file.suffix, "text")
        place.write_text(f"# {name}\n\n````{language}\n{text}\n````\n", encoding="utf-8")
    return place


def make_sound(to: Path) -> None:
    """What the first page plays, made by the bundled model with seed 0."""
    import audiolm

    to.mkdir(parents=True, exist_ok=True)
    lm = audiolm.load("speech", "cpu")
    prompt = audiolm.read(audiolm.example_prompt())
    prompt.write(to / "prompt.wav")
    lm.continuation(prompt, prompt_seconds=None, seed=0).write(to / "continuation.wav")
    lm.acoustic_generation(prompt, seed=0).write(to / "other-voice.wav")
    lm.reconstruction(prompt, levels=4).write(to / "four-levels.wav")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--no-sound", action="store_true", help="leave out what is played")
    arguments = parser.parse_args()
    source = ROOT / "build" / "docs"
    lay_out(ROOT, source)
    if not arguments.no_sound:
        make_sound(source / "listen")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
