"""``agentfleet serve-model``: one local model as an HTTP endpoint, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from agentfleet.cli.app import FleetFile, Json, app, chosen_fleet
from agentfleet.errors import FleetError, MissingExtra, UnknownName, UsageError, nearest
from agentfleet.fleet.config import resolve_key
from agentfleet.fleet.model import Fleet, Model

if TYPE_CHECKING:
    from agentfleet.backends.llama_cpp.engine import LlamaCpp

_NEEDS = ("starlette", "uvicorn")


@app.command("serve-model")
def serve_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A llama_cpp model of the fleet, e.g. smollm2.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    key: Annotated[
        str | None, typer.Option("--key", metavar="env:VARIABLE", help="Clients must send the key of this variable.")
    ] = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Calls that may run or wait; more get 429.")] = 32,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Serve one local model over HTTP: OpenAI's chat completions and System One decisions.

    Examples:

      agentfleet serve-model smollm2

      agentfleet serve-model smollm2 --port 8001 --key env:FLEET_KEY
    """
    _require()
    from agentfleet.fleet.lock import sha256_of
    from agentfleet.serve.app import Endpoint, names_of
    from agentfleet.serve.run import listening, run, url_of
    from agentfleet.serve.served import Served

    secret = _secret(name, key)
    if not secret and not names_of(host):
        print(f"anyone who reaches {host} may use {name}: --key env:VARIABLE asks them for a key", file=sys.stderr)
    engine = _engine(_local(name, chosen_fleet(None, fleet)))
    found = listening(host, port)
    engine.load()
    served = Served(engine, name, queue, sha256_of(engine.path))
    endpoint = Endpoint(served, secret, names_of(host), since=engine.path.stat().st_mtime)
    run(endpoint.app(partial(_say, name, url_of(found), bool(secret), as_json)), found)


def _require() -> None:
    missing = [package for package in _NEEDS if find_spec(package) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)} is not installed; run: pip install 'agentfleet[serve]'")


def _secret(name: str, key: str | None) -> str:
    """The key that clients must send, "" for none. Raises FleetError, MissingKey."""
    if key is None:
        return ""
    if not key.startswith("env:") or len(key) == len("env:"):
        raise FleetError("--key is a reference to an environment variable, env:NAME, never the key itself")
    return resolve_key(Model(name=name, backend="llama_cpp", key=key))


def _local(name: str, fleet: Fleet) -> Model:
    for model in fleet.models:
        if model.name == name:
            if model.backend != "llama_cpp":
                raise UsageError(f"{name} runs on {model.backend}; serve-model serves llama_cpp models")
            return model
    raise UnknownName(f"the fleet has no model {name!r}{nearest(name, [m.name for m in fleet.models])}")


def _engine(model: Model) -> LlamaCpp:
    from agentfleet.backends.llama_cpp.engine import LlamaCpp
    from agentfleet.routing.open import open_backend

    found = open_backend(model)
    assert isinstance(found, LlamaCpp)
    return found


def _say(name: str, url: str, locked: bool, as_json: bool) -> None:
    """Tell where it listens, so that a script that started it can go on."""
    if as_json:
        print(json.dumps({"name": name, "url": url, "key": locked}), flush=True)
    else:
        print(f"{name}: {url}/v1 (Ctrl-C ends it)", flush=True)
