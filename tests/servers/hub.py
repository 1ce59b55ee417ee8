"""A server on loopback that speaks the hub's protocol: repositories with commits, large files in a store elsewhere.

What goes wrong is set by the test: bytes that are not what was published, too few of them, errors, a stream that stops.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LFS = 20_000
"""Bytes from which a file lies in the store and is known by its sha256."""
CHUNK = 2**20


@dataclass
class Repo:
    """A repository: commits with their files. `gated`: all may list it, only this token may read its files."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str] = field(default_factory=dict)
    gated: str = ""
    tags: list[str] = field(default_factory=lambda: ["license:apache-2.0"])


def repo(files: dict[str, bytes], commit: str = "1" * 40, **more: Any) -> Repo:
    """A repository with one commit, which is main."""
    return Repo({commit: files}, {"main": commit}, **more)


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    range: str
    authorization: str


class HubServer:
    """``with HubServer({"owner/name": repo({...})}) as hub:``; the store is the same server under another host.

    `flipped`: files of which one bit is wrong. `short`: files of which the last bytes are missing. `failing`: statuses to
    give first. `misses`: files whose headers tell another hash. `stop_after`: bytes of a file after which it stops until
    `go` is set; `cut_after`: bytes after which the connection ends, once. `no_ranges`: answers with the whole file.
    """

    def __init__(self, repos: dict[str, Repo]) -> None:
        self.repos = repos
        self.seen: list[Seen] = []
        self.flipped: set[str] = set()
        self.short: set[str] = set()
        self.misses: set[str] = set()
        self.failing: list[int] = []
        self.stop_after: int | None = None
        self.cut_after: int | None = None
        self.no_ranges = False
        self.go = threading.Event()
        self.bodies: dict[str, tuple[str, bytes]] = {}
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        app = Starlette(
            routes=[
                Route("/api/models/{owner}/{name}/revision/{revision}", self._info),
                Route("/{owner}/{name}/resolve/{revision}/{file:path}", self._resolve),
                Route("/store/{digest}", self._store),
            ]
        )
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def endpoint(self) -> str:
        """HF_ENDPOINT of this hub."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str, part: str) -> list[Seen]:
        """Requests of a method whose path holds `part`."""
        return [seen for seen in self.seen if seen.method == method and part in seen.path]

    def __enter__(self) -> HubServer:
        self._socket.listen(64)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.go.set()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _refused(self, request: Request) -> Response | None:
        told = request.headers
        self.seen.append(Seen(request.method, request.url.path, told.get("range", ""), told.get("authorization", "")))
        if self.failing:
            return Response(status_code=self.failing.pop(0))
        if "owner" not in request.path_params:
            return None
        found = self.repos.get(f"{request.path_params['owner']}/{request.path_params['name']}")
        if found is None:
            return Response(status_code=401, headers={"x-error-code": "RepoNotFound"})
        if found.gated and "file" in request.path_params and told.get("authorization") != f"Bearer {found.gated}":
            status = 403 if "authorization" in told else 401
            return Response(status_code=status, headers={"x-error-code": "GatedRepo"})
        if self._commit(request) not in found.commits:
            return Response(status_code=404, headers={"x-error-code": "RevisionNotFound"})
        return None

    def _repo(self, request: Request) -> Repo:
        return self.repos[f"{request.path_params['owner']}/{request.path_params['name']}"]

    def _commit(self, request: Request) -> str:
        revision = str(request.path_params["revision"])
        return self._repo(request).branches.get(revision, revision)

    async def _info(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        found, commit = self._repo(request), self._commit(request)
        siblings = [
            _sibling(name, data, "blobs" in request.query_params) for name, data in found.commits[commit].items()
        ]
        body = {"id": "x/y", "sha": commit, "siblings": siblings, "tags": found.tags, "gated": bool(found.gated)}
        return JSONResponse(body)

    async def _resolve(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        name, commit = str(request.path_params["file"]), self._commit(request)
        data = self._repo(request).commits[commit].get(name)
        headers = {"x-repo-commit": commit}
        if data is None:
            return Response(status_code=404, headers={**headers, "x-error-code": "EntryNotFound"})
        if len(data) < LFS:
            return Response(data, headers={**headers, "etag": f'"{_blob(data)}"'})
        digest = hashlib.sha256(data).hexdigest()
        self.bodies[digest] = (name, data)
        linked = digest if name not in self.misses else "0" * 64
        headers |= {"x-linked-etag": f'"{linked}"', "x-linked-size": str(len(data))}
        return Response(
            status_code=302, headers={**headers, "location": f"http://localhost:{self.port}/store/{digest}"}
        )

    async def _store(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        name, data = self.bodies[str(request.path_params["digest"])]
        if name in self.flipped:
            data = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        if name in self.short:
            data = data[:-1000]
        start = 0 if self.no_ranges else int((request.headers.get("range") or "bytes=0-")[6:].partition("-")[0])
        headers = {"content-length": str(len(data) - start), "accept-ranges": "bytes"}
        if start:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return StreamingResponse(self._stream(data, start), status_code=206 if start else 200, headers=headers)

    async def _stream(self, data: bytes, start: int) -> AsyncIterator[bytes]:
        for at in range(start, len(data), CHUNK):
            if self.cut_after is not None and at >= self.cut_after:
                self.cut_after = None
                raise ConnectionResetError("as the test wants")
            if self.stop_after is not None and at >= self.stop_after:
                await run_in_threadpool(self.go.wait)
            yield data[at : at + CHUNK]


def _sibling(name: str, data: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": name}
    row: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": _blob(data)}
    if len(data) >= LFS:
        row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return row


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
