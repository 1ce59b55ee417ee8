"""``agentfleet runs``: the runs in this project's ledger, newest first."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import Json, app, reading
from agentfleet.errors import UsageError, nearest

_STATUS = ("queued", "running", "waiting", "paused", "done", "failed", "cancelled")


@app.command()
def runs(
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help=", ".join(_STATUS))] = None,
    graph: Annotated[str | None, typer.Option("--graph", metavar="NAME", help="Only runs of this graph.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs.

    Examples:

      agentfleet runs --status waiting

      agentfleet runs --graph support_desk --limit 5 --json
    """
    if status is not None and status not in _STATUS:
        raise UsageError(f"no status {status!r}{nearest(status, _STATUS)}")
    with reading() as ledger:
        found = ledger.runs(status, graph, limit)
    if as_json:
        for run in found:
            print(
                json.dumps(
                    {
                        "run_id": run.id,
                        "graph": run.graph,
                        "status": run.status,
                        "cost": run.cost,
                        "created": run.created,
                    }
                )
            )
        return
    table = Table()
    for name in ("run", "graph", "status", "began", "cost"):
        table.add_column(name)
    for run in found:
        began = datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(run.id, render.safe(run.graph), run.status, began, render.cost_text(run.cost, run.unpriced))
    render.console().print(table if found else "no runs yet: agentfleet run NAME")
