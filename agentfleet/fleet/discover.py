"""Model servers that run on this machine, found on their usual ports. They are offered, never used by themselves.

Only asks loopback, only with GET, and not for long. What does not answer as such a server does is passed over.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from agentfleet.fleet.model import Model

HOST: Final = "127.0.0.1"
LIMIT: Final = 0.5
"""Seconds for all servers together."""
LARGEST: Final = 2**20
"""Bytes of an answer at most."""
SHOWN: Final = 3
"""Models of one server in a snippet."""

PORTS: Final[Mapping[int, str]] = {11434: "Ollama", 8080: "llama-server", 8000: "vLLM", 1234: "LM Studio"}
"""Usual port → what usually listens there."""

_OWNERS: Final[Mapping[str, str]] = {
    "agentfleet": "agentfleet serve-model",
    "library": "Ollama",
    "llamacpp": "llama-server",
    "organization_owner": "LM Studio",
    "vllm": "vLLM",
}
"""What servers write as the owner of their models → which server it is."""
_CONTEXT: Final = ("max_model_len", "loaded_context_length", "context_length", "max_context_length")


@dataclass(frozen=True, slots=True)
class Offered:
    """One model of a server. `context`: tokens, where the server says it."""

    name: str
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. `url`: what becomes `base_url`."""

    kind: str
    url: str
    models: tuple[Offered, ...]


def discover(ports: Mapping[int, str] | None = None, limit: float | None = None) -> list[Server]:
    """The servers that answer within `limit` seconds (`LIMIT`), in the order of `ports` (default: the usual ones)."""
    wanted, limit = PORTS if ports is None else ports, LIMIT if limit is None else limit
    found: dict[int, Server] = {}

    def look(port: int, usual: str) -> None:
        server = _server(port, usual, limit)
        if server is not None:
            found[port] = server

    threads = [threading.Thread(target=look, args=pair, daemon=True) for pair in wanted.items()]
    end = time.monotonic() + limit
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [found[port] for port in wanted if port in found]


def offers(servers: Iterable[Server], models: Sequence[Model]) -> list[Server]:
    """Those of the servers that no model of the fleet names."""
    named = {_place(model.base_url) for model in models if model.base_url}
    return [server for server in servers if _place(server.url) not in named]


def snippet(server: Server, most: int = SHOWN) -> str:
    """What to write into the fleet file to use a server's first models."""
    tables = []
    for model in server.models[:most]:
        lines = [
            "[[models]]",
            f"name = {json.dumps(_short(model.name), ensure_ascii=False)}",
            'backend = "openai"',
            f"model = {json.dumps(model.name, ensure_ascii=False)}",
            f'base_url = "{server.url}"',
            'tier = "large"',
        ]
        tables.append("\n".join(lines + ([f"context = {model.context}"] if model.context else [])))
    return "\n\n".join(tables)


def context_of(entry: Mapping[str, Any]) -> int | None:
    """The context that an entry of ``/v1/models`` states, in tokens; None when it states none."""
    meta = entry.get("meta")
    values = [entry.get(key) for key in _CONTEXT] + [meta.get("n_ctx") if isinstance(meta, Mapping) else None]
    return next((value for value in values if type(value) is int and value > 0), None)


def _server(port: int, usual: str, limit: float) -> Server | None:
    entries = _entries(_fetched(port, "/v1/models", limit))
    if not entries:
        return None
    models = tuple(Offered(entry["id"], context_of(entry)) for entry in entries if "embed" not in entry["id"].lower())
    owner = entries[0].get("owned_by")
    kind = _OWNERS.get(owner, usual) if isinstance(owner, str) else usual
    return Server(kind, f"http://{HOST}:{port}/v1", models)


def _entries(data: Any) -> list[Mapping[str, Any]]:
    rows = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, Mapping) and _sensible(row.get("id"))]


def _sensible(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()


def _fetched(port: int, path: str, limit: float) -> Any:
    """The JSON data of a path; None when there is none."""
    connection = http.client.HTTPConnection(HOST, port, timeout=limit)
    try:
        connection.request("GET", path, headers={"accept": "application/json"})
        response = connection.getresponse()
        raw = response.read(LARGEST + 1)
        return json.loads(raw) if response.status == 200 and len(raw) <= LARGEST else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()


def _short(name: str) -> str:
    """A name for the fleet file: the last part of the model's, in plain letters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.rsplit("/", 1)[-1]).strip("-") or "model"


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return (HOST if host in ("localhost", "::1") else host, parts.port)
