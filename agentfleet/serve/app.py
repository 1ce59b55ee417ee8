"""The HTTP face of a served model: who may ask, what a body may be, which path does what."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentfleet.errors import nearest
from agentfleet.schema import Invalid, strict_json
from agentfleet.serve.bodies import ChatBody, DecideBody
from agentfleet.serve.chat import chat
from agentfleet.serve.decide import decide
from agentfleet.serve.problems import Problem, of_validation
from agentfleet.serve.served import Gone, Served

LARGEST: Final = 2 * 2**20
"""Bytes of a body at most."""
CLOSED_BY_CLIENT: Final = 499
"""Status in the log of a call whose client has left; nobody reads it."""

Body = TypeVar("Body", bound=BaseModel)


class Endpoint:
    """The paths of one served model. `key`: what clients must send, "" for none; `hosts`: names it answers to.

    `started`: called once the model is loaded and requests can come.
    """

    def __init__(
        self, served: Served, key: str = "", hosts: frozenset[str] = frozenset(), *, since: float = 0.0
    ) -> None:
        self.served = served
        self.hosts = hosts
        self._key = key.encode()
        self._since = since

    def app(self, started: Callable[[], None] = lambda: None) -> Starlette:
        """The application; loads the model when it starts and closes it at its end."""

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            started()
            yield
            await self.served.engine.close()

        routes = [
            Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
            Route("/v1/systemone", self._guarded(self._decide), methods=["POST"]),
            Route("/v1/models", self._guarded(self._models)),
            Route("/v1/models/{name:path}", self._guarded(self._model)),
            Route("/health", self._guarded(self._health)),
        ]
        return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_such_path})

    def _guarded(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._check(request)
                return await handle(request)
            except Problem as problem:
                return problem.response()
            except Gone:
                return Response(status_code=CLOSED_BY_CLIENT)

        return guarded

    def _check(self, request: Request) -> None:
        """A page in a browser may not reach a server on loopback by another name; a key is compared in constant time."""
        if self.hosts and request.url.hostname not in self.hosts:
            raise Problem(403, f"this server answers only to {', '.join(sorted(self.hosts))}", code="wrong_host")
        if not self._key or request.url.path == "/health":
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key):
            raise Problem(401, "send the key of this server as Authorization: Bearer KEY", code="invalid_api_key")

    async def _chat(self, request: Request) -> Response:
        body = await _body(request, ChatBody, 400)
        self._known(body.model)
        return await chat(self.served, request, body)

    async def _decide(self, request: Request) -> Response:
        body = await _body(request, DecideBody, 422)
        self._known(body.model)
        return await decide(self.served, request, body)

    async def _models(self, request: Request) -> Response:
        entry = self._entry()
        day = datetime.fromtimestamp(self._since, UTC).date().isoformat()
        told = {"name": self.served.name, "description": "a local model, served by agentfleet", "release_date": day}
        return JSONResponse({"object": "list", "data": [entry], "models": [told]})

    async def _model(self, request: Request) -> Response:
        self._known(request.path_params["name"])
        return JSONResponse(self._entry())

    async def _health(self, request: Request) -> Response:
        return JSONResponse(self.served.load())

    def _entry(self) -> dict[str, Any]:
        return {
            "id": self.served.name,
            "object": "model",
            "created": int(self._since),
            "owned_by": "agentfleet",
            "max_model_len": self.served.context,
            "sha256": self.served.identity,
        }

    def _known(self, name: str) -> None:
        if name != self.served.name:
            known = nearest(name, [self.served.name])
            raise Problem(404, f"no model {name[:80]!r} here{known}", "model", "model_not_found")


async def _body(request: Request, kind: type[Body], status: int) -> Body:
    """The body as a type. Raises Problem: 413 too large, 415 not JSON, else `status` with the field at fault."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "send JSON with content-type: application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "send the body without content-encoding")
    raw = bytearray()
    try:
        async for piece in request.stream():
            raw += piece
            if len(raw) > LARGEST:
                raise Problem(413, f"the body is larger than {LARGEST} bytes", code="body_too_large")
    except ClientDisconnect:
        raise Gone from None
    try:
        data = strict_json(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Problem(status, f"the body is not UTF-8 (byte {error.start})") from None
    except Invalid as error:
        raise Problem(status, f"the body cannot be read: {error}") from None
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise of_validation(error, data, status) from None


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response()


def names_of(host: str) -> frozenset[str]:
    """The names by which a server at `host` may be called: on loopback only those of loopback, else any (empty)."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return frozenset({"127.0.0.1", "localhost", "::1", host}) if local else frozenset()
