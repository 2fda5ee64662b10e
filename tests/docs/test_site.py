"""The site: laid out from docs/, built with strict links, and whole without a network."""

import importlib.util
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import audiolm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "scripts" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nav_pages(entries) -> list[str]:
    pages = []
    for entry in entries:
        for value in entry.values():
            pages += nav_pages(value) if isinstance(value, list) else [value]
    return pages


def test_every_page_stands_in_the_nav() -> None:
    listed = nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(listed) == len(set(listed))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert set(listed) == there | {"CONTRIBUTING.md", "CHANGELOG.md"}


def test_every_public_name_is_in_the_reference() -> None:
    shown = re.findall(r"^::: audiolm\.(\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert set(shown) == set(audiolm.__all__) - {"__version__"}


def test_links_out_of_docs_become_pages(builder, tmp_path) -> None:
    """A small repository by hand: a file, a folder, a page beside docs, pages in a circle."""
    root = tmp_path / "repository"
    for name, text in {
        "docs/a.md": "[code](../src/x.py) [folder](../src) [card](../src/CARD.md#top) "
        "[glossary](../CONTRIBUTING.md#glossary) [b](guide/b.md) [away](https://example.org/x.py) "
        "[gone](../src/gone.py)",
        "docs/guide/b.md": "[a](../a.md) [code](../../src/x.py)",
        "src/x.py": "x = 1\n",
        "src/CARD.md": "[code](x.py) [a](../docs/a.md)",
        "CONTRIBUTING.md": "[a](docs/a.md)",
        "CHANGELOG.md": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    out = tmp_path / "out"
    builder.lay_out(root, out)
    assert (out / "a.md").read_text() == (
        "[code](repository/src/x.py.md) [folder](repository/src.md) "
        "[card](repository/src/CARD.md#top) [glossary](CONTRIBUTING.md#glossary) [b](guide/b.md) "
        "[away](https://example.org/x.py) [gone](../src/gone.py)"
    )
    assert (out / "guide" / "b.md").read_text() == "[a](../a.md) [code](../repository/src/x.py.md)"
    assert (out / "CONTRIBUTING.md").read_text() == "[a](a.md)"
    assert (out / "repository/src/CARD.md").read_text() == "[code](x.py.md) [a](../../a.md)"
    assert "```python\nx = 1\n" in (out / "repository/src/x.py.md").read_text()
    assert "[x.py](src/x.py.md)" in (out / "repository/src.md").read_text()


class Loads(HTMLParser):
    """What a browser fetches by itself to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "audio", "iframe", "source"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.found.append(given.get("href") or "")


@pytest.mark.slow
def test_the_site_is_built_and_whole(builder, tmp_path) -> None:
    """Strict links and names; nothing is fetched from elsewhere; every page of the nav is there."""
    pytest.importorskip("zensical", reason="needs the extra audiolm[docs]")
    for name in ("docs", "src", "examples", "scripts"):
        leave_out = shutil.ignore_patterns("*.safetensors", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave_out)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.yml"), ROOT / "pyproject.toml"):
        shutil.copy(path, tmp_path / path.name)
    builder.lay_out(tmp_path.resolve(), tmp_path / "build" / "docs")
    answer = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    site = tmp_path / "build" / "site"
    for page in nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]):
        html = (site / page).with_suffix(".html").read_text()
        loads = Loads()
        loads.feed(html)
        for address in loads.found:
            assert not re.match(r"(https?:)?//", address), f"{page} fetches {address}"
    api = (site / "api.html").read_text()
    for name in ("audiolm.AudioLM.continuation", "audiolm.AudioLM.stream", "audiolm.load"):
        assert f'id="{name}"' in api
    index = (site / "index.html").read_text()
    played = re.findall(r'<audio[^>]* src="listen/([\w.-]+)"', index)
    made = set(re.findall(r'to / "([\w.-]+\.wav)"', (ROOT / "scripts/build_site.py").read_text()))
    assert set(played) == made
