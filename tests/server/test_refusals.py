"""What is hostile or mistaken is refused in one line of JSON, and hurts nobody else."""

import io
import re
import zlib

import numpy as np
import pytest
import soundfile
from serving import wav

from tiny import noise

PNG = b"\x89PNG\r\n\x1a\n" + zlib.compress(bytes(1000))


def refused(answer, status: int, says: str) -> None:
    """It is that status, and one line that says so."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert says in line and "\n" not in line and "/tmp" not in line and len(line) <= 400


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (PNG, "prompt: is no recording that can be read"),
        (b"", "prompt: is an empty file"),
        (b"Call me Ishmael.\n" * 100, "prompt: is no recording that can be read"),
        (wav(noise(2.0))[:30_000], "prompt: is cut off"),
        (wav(noise(2.0), "FLAC")[:9_000], "prompt: "),
        (wav(noise(0.2)), "prompt: 0.20 s is too short to be continued"),
        (wav(noise(0.6), channels=9), "prompt: has 9 channels"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff" + bytes(99), "prompt: "),
        (b"OggS" + bytes(200), "prompt: "),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(200), "prompt: "),
    ],
)
def test_what_is_no_recording(post, file, says):
    refused(post("continuations", file, seconds=0.2), 400, says)


@pytest.mark.parametrize("verb", ["continuations", "resyntheses", "reconstructions"])
def test_a_recording_without_a_sample(post, verb):
    nothing = io.BytesIO()
    soundfile.write(nothing, np.zeros(0, np.int16), 16_000, format="WAV")
    answer = post(verb, nothing.getvalue())
    refused(answer, 400, "")


def test_samples_that_are_no_numbers(post):
    file = io.BytesIO()
    soundfile.write(file, np.full(16_000, np.nan, np.float32), 16_000, "FLOAT", format="WAV")
    refused(post("continuations", file.getvalue()), 400, "prompt: holds NaN")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"seconds": "soon"}, "field: seconds: "),
        ({"seconds": "nan"}, "field: seconds: "),
        ({"seconds": "-1"}, "field: seconds: "),
        ({"seconds": "1e9"}, "field: seconds: 1e+09 is more than 60 allowed"),
        ({"seed": "-1"}, "field: seed: "),
        ({"seed": "1.5"}, "field: seed: "),
        ({"temperature": "hot"}, "temperature: 'hot' is not three numbers"),
        ({"temperature": "-1,1,1"}, "temperature: "),
        ({"top_p": "2"}, "field: top_p: "),
        ({"best_of": "1000"}, "field: best_of: "),
        ({"levels": "5"}, "levels: 5 asked of a codec with 4"),
        ({"acoustic": "telepathic"}, "field: acoustic: "),
        ({"baseline": "none"}, "field: baseline: "),
        ({"baseline": "acoustic-only", "acoustic": "autoregressive"}, "field: acoustic: "),
        ({"format": "mp3"}, "field: format: "),
        ({"model": "../../etc/passwd"}, "field: model: '../../etc/passwd' is not served here"),
        ({"model": "google/audiolm"}, "is not served here; use tiny or bare"),
        ({"second": "3"}, "unknown key second; did you mean seconds?"),
        ({"x" * 3000: "3"}, "unknown key xxx"),
        ({"guidance": "2"}, "has not learnt what comes"),
    ],
)
def test_fields_that_cannot_be(post, fields, says):
    refused(post("continuations", **fields), 422, says)


def test_an_edit_that_ends_before_it_begins(post):
    refused(post("edits", start=3, end=2), 422, "field: end: 2 is not after start, 3")
    refused(post("edits", start=3), 422, "field: end: ")


def test_forms_that_are_none(ask):
    client = ask()
    path = "/v1/continuations"
    refused(client.post(path), 422, "field prompt: no file came")
    refused(client.post(path, json={"seconds": 3}), 422, "field prompt: no file came")
    refused(client.post(path, data={"prompt": "/etc/passwd"}), 422, "field prompt: no file came")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post(path, content=b"--y\r\n", headers=broken), 400, "")
    refused(
        client.post(path, content=b"no", headers={"Content-Type": "multipart/form-data"}), 400, ""
    )
    many = [("prompt", ("a", b"1")), ("prompt", ("b", b"2"))]
    refused(client.post(path, files=many), 400, "Too many files")
    twice = {"seed": ["1", "2"]}
    files = {"prompt": ("a", wav(noise(1.0)))}
    refused(client.post(path, files=files, data=twice), 422, "field seed: is there twice")
    assert client.post(path, files=files, data={"seconds": "0.2"}).status_code == 200


def test_what_is_too_large_is_not_read(ask):
    client = ask(upload_bytes=100_000)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    path = "/v1/continuations"
    stated = client.post(path, content=b"", headers={**kind, "Content-Length": "2000000000"})
    refused(stated, 413, "body: is larger than 0.1 MB")
    odd = client.post(path, content=b"", headers={**kind, "Content-Length": "-5"})
    refused(odd, 413, "body: is larger")
    recording = {"prompt": ("a", wav(noise(9.0)))}
    refused(client.post(path, files=recording), 413, "body: is larger than 0.1 MB")


def test_what_is_too_long(ask):
    client = ask(seconds=2)
    long = {"audio": ("a", wav(noise(3.0)))}
    refused(client.post("/v1/resyntheses", files=long), 413, "audio: lasts 3.0 s; send at most 2 s")
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * 4000, np.int16), 8000, format="FLAC")
    hour = {"prompt": ("a", file.getvalue())}  # a small file that is a long recording
    refused(client.post("/v1/continuations", files=hour), 413, "prompt: lasts 4000.0 s")


def test_paths_that_are_not(ask):
    client = ask()
    refused(client.get("/v1/nothing"), 404, "not found")
    refused(client.get("/v1/continuations"), 405, "method not allowed")
    refused(client.get("/..%2f..%2fapp.py"), 404, "not found")
    refused(client.get("/%00"), 404, "not found")


def test_a_token_is_asked_for_and_compared(ask):
    client = ask(token="open sesame")
    for header in ({}, {"Authorization": "Bearer open"}, {"Authorization": "Basic open sesame"}):
        answer = client.get("/v1/models", headers=header)
        refused(answer, 401, "token: missing or wrong")
        assert answer.headers["www-authenticate"] == "Bearer"
    refused(client.post("/v1/continuations"), 401, "token: missing or wrong")
    odd = {"Authorization": "Bearer \u00e9".encode()}
    refused(client.get("/v1/models", headers=odd), 401, "token")
    right = {"Authorization": "Bearer open sesame"}
    assert client.get("/v1/models", headers=right).status_code == 200
    assert client.get("/v1/health").json()["token"] is True
    assert client.get("/").status_code == 200  # the page asks for it


def test_another_site_may_not_ask(ask):
    client = ask()
    refused(client.get("/v1/health", headers={"Host": "evil.example"}), 403, "host: ")
    refused(client.get("/v1/health", headers={"Host": "[evil"}), 403, "host: ")
    for header in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://[evil"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        refused(client.post("/v1/continuations", headers=header), 403, "origin: ")
    refused(client.get("/v1/health", headers={"Origin": "null"}), 403, "origin: ")
    own = {"Origin": "http://127.0.0.1:8000"}
    assert client.get("/v1/health", headers=own).status_code == 200
    named = ask(token="t", base="http://audio.example")
    assert named.get("/v1/health").status_code == 200


@pytest.mark.parametrize("fault", [ZeroDivisionError, OSError, TimeoutError])
def test_a_fault_of_ours_is_one_line_and_the_next_request_is_answered(fault, post, lm, monkeypatch):
    """Of whatever kind: a full disk is no client that has gone."""

    def fails(*_, **__):
        raise fault("inside")

    with monkeypatch.context() as patch:
        patch.setattr(lm, "stream", fails)
        refused(post("continuations"), 500, f"{fault.__name__}; a fault of ours")
    assert post("continuations", seconds=0.2).status_code == 200


def test_every_answer_has_a_strict_policy(ask):
    client = ask()
    for path in ("/", "/v1/health", "/v1/nothing", "/main.js"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers


def test_the_page_loads_nothing_from_elsewhere(ask):
    page = ask().get("/").text
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
    for link in re.findall(r"(?:src|href)=\"([^\"#]+)\"", page):
        assert ask().get(link).status_code == 200, link
