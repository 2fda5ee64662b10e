"""A hub on this machine: the part of the Hugging Face hub's protocol that a model takes.

Repositories are dictionaries in memory. What a test wants to know afterwards stands in them. As on
the hub, weights are too large for a commit: they are uploaded by Git LFS, and a commit names them.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in"


@dataclass
class Repository:
    """One repository, and its commits by their ids."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        """Those of the newest commit."""
        return self.commits[self.refs["main"]]


class StandIn:
    """A hub with its server; `address` is what HF_ENDPOINT is to be."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        """What was uploaded by Git LFS, by its SHA-256."""
        self.asked: list[str] = []
        """Method and path of every request."""

        hub = self

        class Handler(_Handler):
            stand_in = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        words = self._words()
        if words == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid credentials"}, 401)
        if words == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.stand_in.repositories
            if not known:
                private = asked.get("visibility") == "private" or asked.get("private") is True
                self.stand_in.repositories[name] = Repository(private)
            return self._json({"url": f"{self.stand_in.address}/{name}"}, 409 if known else 200)
        if words[2:] == ["info", "lfs", "objects", "batch"]:
            objects = [self._place(one) for one in json.loads(body)["objects"]]
            return self._json({"transfer": "basic", "objects": objects})
        if words[:2] != ["api", "models"]:
            return self._json({"error": "not played here"}, 404)
        repository = self.stand_in.repositories["/".join(words[2:4])]
        if words[4] == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            mode = {True: "lfs", False: "regular"}
            return self._json(
                {
                    "files": [
                        {"path": f, "uploadMode": mode[_is_large(f)], "shouldIgnore": False}
                        for f in files
                    ]
                }
            )
        assert words[4:] == ["commit", "main"], words
        lines = [json.loads(line) for line in body.splitlines()]
        newest = dict(repository.files) if repository.refs else {}
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "lfsFile":
                assert value["algo"] == "sha256"
                newest[value["path"]] = self.stand_in.large[value["oid"]]
            else:
                assert not _is_large(value["path"])
                newest[value["path"]] = base64.b64decode(value["content"])
        commit = hashlib.sha1(body).hexdigest()
        repository.commits[commit] = newest
        repository.refs["main"] = commit
        address = f"{self.stand_in.address}/{'/'.join(words[2:4])}/commit/{commit}"
        return self._json({"commitUrl": address, "commitOid": commit})

    def _place(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Where an object is to be put; nowhere, where it is there already."""
        place = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.stand_in.large:
            return place
        href = f"{self.stand_in.address}/large/{asked['oid']}"
        return place | {"authenticated": True, "actions": {"upload": {"href": href}}}

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self._words()[-1]
        assert hashlib.sha256(content).hexdigest() == oid
        self.stand_in.large[oid] = content
        self._answer(200, b"", {})

    def do_GET(self) -> None:
        words = self._words()
        api = words[:2] == ["api", "models"]
        name = "/".join(words[2:4] if api else words[:2])
        repository = self.stand_in.repositories.get(name)
        allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            return self._refuse(401, "RepoNotFound")
        if api:
            revision = words[5] if len(words) > 5 else "main"
            commit = repository.refs.get(revision, revision)
            if commit not in repository.commits:
                return self._refuse(404, "RevisionNotFound")
            files = repository.commits[commit]
            if words[4:5] == ["tree"]:
                return self._json(
                    [
                        {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                        for path, content in files.items()
                    ]
                )
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": name, "sha": commit, "siblings": siblings})
        if repository.gated and not allowed:
            return self._refuse(403, "GatedRepo")
        commit = repository.refs.get(words[3], words[3])
        content = repository.commits[commit].get("/".join(words[4:]))
        if content is None:
            return self._refuse(404, "EntryNotFound")
        return self._answer(200, content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _words(self) -> list[str]:
        path = urlsplit(self.path).path
        self.stand_in.asked.append(f"{self.command} {path}")
        return [unquote(word) for word in path.strip("/").split("/")]

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _is_large(path: str) -> bool:
    """As the hub's own .gitattributes says."""
    return path.endswith((".safetensors", ".flac", ".wav"))


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
