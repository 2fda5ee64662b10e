"""A hub on this machine in place of the real one, and huggingface_hub pointed at it."""

import sys

import pytest
from stand_in import TOKEN, StandIn


def _take_out() -> dict:
    names = [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A `StandIn` that huggingface_hub takes for the hub, with a cache of its own and no token."""
    pytest.importorskip("huggingface_hub", reason="needs the extra audiolm[hub]")
    stand_in = StandIn()
    monkeypatch.setenv("HF_ENDPOINT", stand_in.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # the stand-in takes large files by Git LFS
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    before = _take_out()  # it reads these once, when it is imported
    yield stand_in
    _take_out()
    sys.modules.update(before)
    stand_in.stop()


@pytest.fixture
def token() -> str:
    return TOKEN
