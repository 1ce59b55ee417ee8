"""Runs the endpoint as a process: the socket, the server, and its orderly end."""

from __future__ import annotations

import signal
import socket
from typing import Final

import uvicorn
from starlette.applications import Starlette

from agentfleet.errors import UsageError

PATIENCE: Final = 20
"""Seconds that running calls have to end after SIGTERM or Ctrl-C; then they are stopped."""
WAITING: Final = 64
"""Connections that may wait to be accepted."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; `port` 0 takes a free one. Raises UsageError when that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(WAITING)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; try another --port"
        ) from None
    return found


def url_of(found: socket.socket) -> str:
    """Where a socket is reached."""
    host, port = found.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: Starlette, found: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; then take no more, let what runs end, and return."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=PATIENCE,
        lifespan="on",
    )
    before = {number: signal.signal(number, _enough) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run([found])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _enough(number: int, frame: object) -> None:
    """uvicorn sends itself the signal again once it has stopped; by then it has done its work."""
