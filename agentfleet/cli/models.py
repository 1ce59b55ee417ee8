"""``agentfleet models``: the models of this fleet, where they run, what they may see, whether they are ready; what is
pulled. The other commands of the group are in files of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app, chosen_fleet
from agentfleet.cli.probe import probe
from agentfleet.cli.pull import pull, pulled_rows, rm, verify
from agentfleet.cli.tune import tune
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.model import Model

models_app = typer.Typer(help="The models of this fleet.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")
for command in (tune, probe, pull, verify, rm):
    models_app.command(command.__name__)(command)


@models_app.command("ls")
def ls(frontier: Frontier = None, fleet: FleetFile = None, as_json: Json = False) -> None:
    """List the models of the fleet, and those that were pulled from a hub.

    Examples:

      agentfleet models ls

      agentfleet models ls --json
    """
    from agentfleet.routing.eligible import clearance

    found = chosen_fleet(frontier, fleet)
    rows = [
        {"name": m.name, "tiers": list(m.tiers), "backend": m.backend, "model": m.model, "location": m.place,
         "sees": clearance(m), "state": state(m)}
        for m in found.models
    ]  # fmt: skip
    pulled = pulled_rows(found)
    if as_json:
        print(json.dumps([*rows, *pulled]))
        return
    table = Table()
    for name in ("name", "tiers", "backend", "model", "location", "sees", "state"):
        table.add_column(name)
    for row in rows:
        table.add_row(*(render.safe(", ".join(v) if isinstance(v, list) else str(v)) for v in row.values()))
    render.console().print(table)
    filled = {tier for m in found.models for tier in m.tiers}
    empty = [tier for tier in found.tiers if tier not in filled]
    if empty:
        render.console().print(f"empty tiers: {', '.join(empty)} (steps that climb there wait)")
    if pulled:
        show_pulled(pulled)


def show_pulled(rows: Sequence[dict[str, Any]]) -> None:
    """The table of pulled models."""
    table = Table()
    for name in ("pulled", "MB", "revision", "files", "in the fleet as"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            render.safe(row["pulled"]), f"{row['bytes'] / 1e6:.0f}", row["revision"][:12], row["files"],
            render.safe(", ".join(row["fleet"]) or "–"),
        )  # fmt: skip
    render.console().print(table)


def state(model: Model) -> str:
    """ "ready", or what is missing."""
    from agentfleet.routing.open import open_backend

    try:
        open_backend(model)
    except AgentfleetError as error:
        return str(error)
    return "ready"
