"""`audiolm serve`: refusals in one line, and a server that starts, answers and ends."""

import os
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("uvicorn", reason="extra [page] is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx

from audiolm.cli import serve


def test_a_port_in_use_is_one_line(audiolm, model):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = audiolm("serve", "--port", port, "--model", model)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"audiolm: --port {port}: cannot be listened at on 127.0.0.1")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "no.such.host.invalid"), "--host no.such.host.invalid: is no address"),
        (("--host", "192.0.2.1"), "cannot be listened at on 192.0.2.1"),
        (("--port", 99_999), "Invalid value for '--port'"),
        (("--model", "nothing-there"), "nothing-there: there is no such model"),
        (("--workers", 0), "Invalid value for '--workers'"),
        (("--host", "0.0.0.0", "--token", ""), "--token: need letters, digits and signs"),
        (("--token", "öffne dich"), "--token: need letters, digits and signs"),
    ],
)
def test_what_cannot_be_served_is_refused(audiolm, arguments, says):
    answer = audiolm("serve", "--port", 0, *arguments)
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1


def test_two_models_of_one_name_are_refused(audiolm, model):
    answer = audiolm("serve", "--port", 0, "--model", model, "--model", model)
    assert answer.code == 2
    assert "another model is called tiny already" in answer.err


def test_without_the_extra_it_says_how_to_install_it(audiolm, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    answer = audiolm("serve")
    assert answer.code == 2
    assert "uvicorn is not installed; install it with: pip install 'audiolm[page]'" in answer.err


@pytest.mark.parametrize(
    ("host", "only_this_machine"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_what_only_this_machine_can_reach(host, only_this_machine):
    assert serve.is_loopback(host) is only_this_machine


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_it_starts_asks_for_a_token_and_ends_with_ctrl_c(model):
    command = [sys.executable, "-m", "audiolm", "serve", "--host", "0.0.0.0", "--port", "0"]
    command += ["--model", str(model)]

    def heed_ctrl_c():  # what a shell starts in the background ignores it, and so would this
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as server:
        token = server.stdout.readline().removeprefix("token: ").strip()
        said = server.stdout.readline()
        assert said.startswith("audiolm tiny: open http://0.0.0.0:") and f"#token={token}" in said
        port = said.partition("0.0.0.0:")[2].partition("/")[0]
        address = f"http://127.0.0.1:{port}/v1/models"
        assert httpx.get(address).status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(address, headers=bearer).status_code == 200
        server.send_signal(signal.SIGINT)
        err = server.communicate(timeout=30)[1]
        assert (server.returncode, err.strip()) == (130, "audiolm: interrupted")
