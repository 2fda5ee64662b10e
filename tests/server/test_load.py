"""Many at once, those that go away, and those that are slow: over sockets."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import SlowModel, wait_until, wav

from audiolm.server import answers, app, gate, work
from audiolm.server.served import ServedModel
from tiny import noise

PROMPT = wav(noise(1.0))


@pytest.fixture
def slow(lm):
    """A model that streams slowly."""
    return SlowModel(lm)


def ask(address: str, seconds: float = 1.0, **timeouts: float) -> httpx.Response:
    """One continuation, alone."""
    form = {"seconds": str(seconds), "continuation_only": "true", "format": "pcm"}
    return httpx.post(
        f"{address}/v1/continuations", files={"prompt": ("a", PROMPT)}, data=form, timeout=60
    )


def test_fifty_at_once_are_answered_whole_or_refused(live, slow):
    slow.pause = 0.1
    address = live({"slow": ServedModel("slow", slow)}, workers=2, queue=4)
    with ThreadPoolExecutor(50) as clients:
        all_answers = list(clients.map(lambda _: ask(address), range(50)))
    whole = [answer for answer in all_answers if answer.status_code == 200]
    refused = [answer for answer in all_answers if answer.status_code == 503]
    assert len(whole) + len(refused) == 50 and len(whole) >= 6 and refused
    assert all(len(answer.content) == 32_000 for answer in whole)
    assert all(answer.json()["error"].startswith("busy: ") for answer in refused)
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert slow.begun == slow.closed == len(whole)
    assert len(ask(address).content) == 32_000  # and the next one is served


def test_no_more_are_let_in_than_can_be_held(live, slow, monkeypatch):
    monkeypatch.setattr(app, "MORE_OPEN", 0)
    address = live({"slow": ServedModel("slow", slow)}, queue=0)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, address, 3)
        wait_until(lambda: slow.begun == 1)
        answer = ask(address)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert len(first.result().content) == 96_000


def test_nobody_waits_for_longer_than_clients_do(live, slow, monkeypatch):
    monkeypatch.setattr(work, "LONGEST_WAIT", 1.0)  # at first a job is taken to last 2 s
    slow.pause = 0.1
    address = live({"slow": ServedModel("slow", slow)}, queue=8)
    with ThreadPoolExecutor(2) as others:
        first = others.submit(ask, address, 2)
        wait_until(lambda: slow.begun == 1)
        answer = ask(address)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert len(first.result().content) == 64_000
    assert len(ask(address, 0.5).content) == 16_000


def test_what_is_refused_was_not_decoded(live, slow, monkeypatch):
    decoded = []

    def read_upload(*given):
        decoded.append(given)
        return noise(1.0)

    monkeypatch.setattr(app, "read_upload", read_upload)
    address = live({"slow": ServedModel("slow", slow)}, queue=0)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, address, 3)
        wait_until(lambda: slow.begun == 1)
        assert ask(address).status_code == 503
        assert len(decoded) == 1
        assert len(first.result().content) == 96_000


def test_the_first_sound_comes_before_the_last_is_made(live, slow):
    address = live({"slow": ServedModel("slow", slow)})
    form = {"seconds": "10", "continuation_only": "true", "format": "pcm"}
    request = {"files": {"prompt": ("a", PROMPT)}, "data": form}
    with httpx.stream("POST", f"{address}/v1/continuations", **request) as answer:
        next(answer.iter_raw())
        assert (slow.begun, slow.closed) == (1, 0)


def test_a_client_that_goes_away_stops_its_work(live, slow):
    address = live({"slow": ServedModel("slow", slow)})
    form = {"seconds": "60", "continuation_only": "true", "format": "pcm"}
    request = {"files": {"prompt": ("a", PROMPT)}, "data": form}
    with httpx.stream("POST", f"{address}/v1/continuations", **request) as answer:
        next(answer.iter_raw())
    started = time.monotonic()
    wait_until(lambda: slow.closed == 1)
    assert time.monotonic() - started < 5  # 12 s are left of it
    assert len(ask(address, 0.5).content) == 16_000


def test_one_that_goes_away_while_it_waits_is_never_begun(live, slow):
    address = live({"slow": ServedModel("slow", slow)})
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, address, 10)
        wait_until(lambda: slow.begun == 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{address}/v1/continuations",
                files={"prompt": ("a", PROMPT)},
                data={"seconds": "5"},
                timeout=httpx.Timeout(30, read=0.3),
            )
        assert len(first.result().content) == 320_000
    assert len(ask(address, 0.5).content) == 16_000
    assert slow.begun == 2


def test_a_reader_that_takes_nothing_keeps_no_worker(live, slow):
    """60 s of sound are more than the buffers between the two hold."""
    slow.pause = 0.0005
    address = live({"slow": ServedModel("slow", slow)})
    form = {"seconds": "60", "continuation_only": "true", "format": "pcm"}
    request = {"files": {"prompt": ("a", PROMPT)}, "data": form}
    with httpx.stream("POST", f"{address}/v1/continuations", **request):
        assert len(ask(address, 0.5).content) == 16_000


def test_a_reader_that_sleeps_is_given_up(live, slow, monkeypatch):
    monkeypatch.setattr(answers, "PATIENCE", 0.3)
    slow.pause = 0.0
    address = live({"slow": ServedModel("slow", slow)}, seconds=3600)
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(request_bytes(address, b"600"))
        wait_until(lambda: slow.closed == 1)  # all is made, and waits for its reader
        time.sleep(1.5)
        came = 0
        while piece := client.recv(1 << 16):
            came += len(piece)
    assert came < 600 * 32_000


def test_an_upload_that_does_not_come_is_given_up(live, slow, monkeypatch):
    monkeypatch.setattr(gate, "PATIENCE", 0.3)
    address = live({"slow": ServedModel("slow", slow)})
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(request_bytes(address, b"1")[:2000])
        assert b" 408 " in client.recv(4096)
    assert slow.begun == 0


def test_an_upload_that_trickles_is_given_up(live, slow, monkeypatch):
    """A byte now and then is something, and yet would keep a place for hours."""
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.6)
    address = live({"slow": ServedModel("slow", slow)})
    host, port = address.removeprefix("http://").split(":")
    request = request_bytes(address, b"1")
    with socket.create_connection((host, int(port)), timeout=0.05) as client:
        client.sendall(request[:2000])
        answer, started = b"", time.monotonic()
        for at in range(2000, 2400):
            client.sendall(request[at : at + 1])
            try:
                answer = client.recv(4096)
                break
            except TimeoutError:
                assert time.monotonic() - started < 10
    assert b" 408 " in answer and slow.begun == 0


def test_an_upload_without_end_is_refused_at_the_limit(live, slow, monkeypatch):
    monkeypatch.setattr(gate, "LINGER", 0.02)
    address = live({"slow": ServedModel("slow", slow)}, upload_bytes=200_000)
    host, port = address.removeprefix("http://").split(":")
    head = request_bytes(address, b"1").split(b"Content-Length")[0]
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(head)
        part = b'--x\r\nContent-Disposition: form-data; name="prompt"; filename="a"\r\n\r\n'
        client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sent = 0
        try:
            while sent < 500_000_000:
                client.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
                sent += 10_000
        except OSError:
            pass
        assert sent < 500_000_000
    assert len(ask(address, 0.5).content) == 16_000


def test_who_sends_far_too_much_reads_why_it_is_refused(live, slow):
    """While it is still sending: a connection that is reset would take the answer with it."""
    address = live({"slow": ServedModel("slow", slow)})
    host, port = address.removeprefix("http://").split(":")
    head = request_bytes(address, b"1").partition(b"Content-Length")[0]
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(head + b"Content-Length: 2000000000\r\n\r\n")
        answer = client.recv(4096)
        client.sendall(bytes(100_000))
        while piece := client.recv(4096):
            answer += piece
    assert b" 413 " in answer and b"larger than 25 MB" in answer


def test_an_upload_that_is_cut_off_leaves_nothing(live, slow, capsys):
    address = live({"slow": ServedModel("slow", slow)})
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(request_bytes(address, b"1")[:3000])
    assert len(ask(address, 0.5).content) == 16_000
    assert slow.begun == 1
    live.stop()
    assert capsys.readouterr().err == ""  # it is no fault of ours


def test_work_that_fails_half_way_ends_the_connection(live, lm):
    class Failing(SlowModel):
        def stream(self, *given, **named):
            yield from super().stream(given[0], 0.3)
            raise ZeroDivisionError

    address = live({"failing": ServedModel("failing", Failing(lm))})
    with pytest.raises(httpx.RemoteProtocolError):
        ask(address)


def test_a_server_that_is_stopped_ends_its_work(live, slow):
    address = live({"slow": ServedModel("slow", slow)})
    errors = []

    def client() -> None:
        try:
            ask(address, 60)
        except httpx.HTTPError as error:
            errors.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    wait_until(lambda: slow.begun == 1)
    live.stop()
    thread.join(timeout=20)
    assert errors and slow.closed == 1


def request_bytes(address: str, seconds: bytes) -> bytes:
    """A whole request for a continuation, as it goes over the wire."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="seconds"\r\n\r\n' + seconds,
        b'--x\r\nContent-Disposition: form-data; name="format"\r\n\r\npcm',
        b'--x\r\nContent-Disposition: form-data; name="prompt"; filename="a"\r\n\r\n' + PROMPT,
        b"--x--\r\n",
    ]
    body = b"\r\n".join(parts)
    host = address.removeprefix("http://").encode()
    return (
        b"POST /v1/continuations HTTP/1.1\r\nHost: " + host + b"\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body
