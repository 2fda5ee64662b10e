"""What the tests of the server share: tiny models, recordings as bytes, and a server that listens.

`ask` answers in this process, without a socket; `live` is a real server, for what only a socket
has: clients that go away, many at once, a browser.
"""

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("starlette", reason="extra [page] is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
from serving import Servers, wav
from starlette.testclient import TestClient

from audiolm.server.app import Limits, create_app
from audiolm.server.served import ServedModel
from tiny import noise, tiny_model

BASE = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def lm():
    """A tiny model with every stage; not to be changed."""
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only", "parallel"))


@pytest.fixture(scope="session")
def models(lm, tmp_path_factory) -> dict[str, ServedModel]:
    """Two models: one that can all, one that has a coarse stage alone."""
    prompt = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    noise(4.0, seed=5).write(prompt)
    bare = tiny_model(kinds=("coarse",))
    return {"tiny": ServedModel("tiny", lm, prompt), "bare": ServedModel("bare", bare)}


@pytest.fixture
def ask(models) -> Iterator[Callable[..., TestClient]]:
    """`ask(token=..., **limits)`: a client of an application that answers in this process."""
    clients = []

    def client(token: str | None = None, base: str = BASE, **limits: float) -> TestClient:
        app = create_app(models, Limits(**limits), token)
        opened = TestClient(app, base_url=base, raise_server_exceptions=False)
        opened.__enter__()
        clients.append(opened)
        return opened

    yield client
    for opened in clients:
        opened.__exit__(None, None, None)


@pytest.fixture
def post(ask):
    """`post("continuations", prompt bytes, seconds=1, ...)`: one request with a file."""
    client = ask()

    def send(verb: str, file: bytes | None = None, **fields: object) -> httpx.Response:
        name = "prompt" if verb == "continuations" else "audio"
        files = {name: ("../../etc/passwd", wav(noise(1.0)) if file is None else file)}
        return client.post(f"/v1/{verb}", files=files, data={k: str(v) for k, v in fields.items()})

    return send


@pytest.fixture
def live(models) -> Iterator[Servers]:
    """`live(models, **limits)`: the address of a server that listens until the test is over."""
    servers = Servers(models)
    yield servers
    servers.stop()
