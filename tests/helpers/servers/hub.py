"""A small server that speaks the Hugging Face Hub's protocol, for one user and plain files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c" * 40


class HubServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.fetched: list[str] = []  # files
        self.strange: list[str] = []  # requests that it does not know

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def log_message(self, *words: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlparse(self.path).path)
        if path == "/api/repos/create":
            given = json.loads(body)
            name = (
                given["name"]
                if "/" in given["name"]
                else f"{given['organization']}/{given['name']}"
            )
            self.server.repos.setdefault(name, {})
            return self._answer({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            known = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._answer({"files": known})
        if "/commit/" in path:
            repo = "/".join(path.split("/")[3:5])
            for line in body.decode().splitlines():
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "file":
                    self.server.repos[repo][value["path"]] = base64.b64decode(value["content"])
                elif item["key"] == "deletedFile":
                    self.server.repos[repo].pop(value["path"], None)
            url = f"{self.server.address}/{repo}/commit/{COMMIT}"
            return self._answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        self._unknown(path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        parts = path.strip("/").split("/")
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            repo = "/".join(parts[2:4])
            if repo not in self.server.repos:
                return self._answer({"error": "Repository not found"}, 404, "RepoNotFound")
            files = self.server.repos[repo]
            if parts[4:5] == ["tree"]:
                return self._answer(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                        for name, data in sorted(files.items())
                    ]
                )
            siblings = [{"rfilename": name} for name in sorted(files)]
            return self._answer({"id": repo, "sha": COMMIT, "siblings": siblings})
        parts = parts[1:] if parts[0] == "datasets" else parts
        if parts[2:3] == ["resolve"]:
            repo, name = "/".join(parts[:2]), "/".join(parts[4:])
            data = self.server.repos.get(repo, {}).get(name)
            if data is None:
                return self._answer({"error": "Entry not found"}, 404, "EntryNotFound")
            if self.command == "GET":
                self.server.fetched.append(name)
            return self._send(data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT})
        self._unknown(path)

    def _unknown(self, path: str) -> None:
        self.server.strange.append(f"{self.command} {path}")
        self._answer({"error": "not here"}, 404)

    def _answer(self, content: Any, code: int = 200, error: str | None = None) -> None:
        headers = {"Content-Type": "application/json"} | ({"X-Error-Code": error} if error else {})
        self._send(json.dumps(content).encode(), headers, code)

    def _send(self, data: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    """As Git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub_server() -> Iterator[HubServer]:
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
