"""``agentfleet models probe``: what a model can do, found out by asking it and kept for later runs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Json, chosen_fleet
from agentfleet.errors import UnknownName, nearest
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import Model
from agentfleet.fleet.probes import Probed, save_probe


def probe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of the fleet.")],
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Ask a model what it can do: does it hold to a schema, tools, log probabilities, decisions, context, speed.

    It is asked some twenty short things, which cost money where the model does. What it says is kept, and decides how a
    hosted model is held to a schema where the fleet file does not say.

    Examples:

      agentfleet models probe smollm2

      agentfleet models probe qwen --json
    """
    from agentfleet.backends.probe import probe as ask
    from agentfleet.routing.open import open_backend

    models = chosen_fleet(None, fleet).models
    model = next((m for m in models if m.name == name), None)
    if model is None:
        raise UnknownName(f"the fleet has no model {name!r}{nearest(name, [m.name for m in models])}")
    progress = render.console(to_stderr=True)
    found = asyncio.run(
        ask(model, open_backend, _weights(model), lambda line: progress.print(f"… {render.safe(line)}"))
    )
    path = save_probe(name, found, project_root())
    if as_json:
        print(json.dumps({"name": name, **found.model_dump(mode="json"), "strategy": found.strategy}))
        return
    render.console().print(_table(found))
    render.console().print(f"kept in {render.safe(str(path))}")


def _weights(model: Model) -> str:
    """The sha256 of weights on this machine, "" for a model that is elsewhere."""
    if model.backend != "llama_cpp":
        return ""
    from agentfleet.backends.llama_cpp import weights_at
    from agentfleet.fleet.lock import load_lock, preferred, sha256_of

    return sha256_of(preferred(model.name, weights_at(model.model), load_lock())[0])


def _table(found: Probed) -> Table:
    table = Table(show_header=False)
    for way, verdict in found.strategies.items():
        table.add_row(f"schema by {way}", render.safe(verdict))
    rows = {
        "used where the fleet file names no strategy": found.strategy,
        "tools": found.tools,
        "log probabilities": found.logprobs,
        "/v1/systemone": found.systemone,
        "/v1/decisions": found.decisions,
        "context, tokens": found.context,
        "answer of one token, ms": found.latency_ms,
        "each further token, ms": found.ms_per_token,
        "model": found.identity[:16],
        "asked on": found.date,
    }
    for what, value in rows.items():
        if value is not None:
            table.add_row(what, _shown(value))
    return table


def _shown(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
