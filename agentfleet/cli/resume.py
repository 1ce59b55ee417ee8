"""``agentfleet resume``: go on with runs that wait, were interrupted or died; nothing committed is repeated."""

from __future__ import annotations

from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app, opened, show_error
from agentfleet.errors import AgentfleetError, UsageError

_OPEN = ("waiting", "paused", "running")


@app.command()
def resume(
    ids: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Runs; none: all that wait or stopped.")] = None,
    rerun: Annotated[str | None, typer.Option("--rerun", help="Forget this step, with all below it, and run it anew.")] = None,
    frontier: Frontier = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Go on with runs.

    Examples:

      agentfleet resume

      agentfleet resume 01jd --frontier anthropic:MODEL

      agentfleet resume 01jd --rerun gist
    """
    if rerun is not None and len(ids or ()) != 1:
        raise UsageError("--rerun STEP needs exactly one run")
    out, bad = render.console(), 0
    with opened(frontier, fleet) as session:
        wanted = ids or [row.id for status in _OPEN for row in session.ledger.runs(status, None, 10_000)]
        if not wanted:
            out.print("nothing waits")
        for number, run_id in enumerate(wanted, 1):
            try:
                run = session.resume(run_id, rerun=rerun)
            except AgentfleetError as error:
                if ids:
                    raise
                bad += 1
                show_error(error)
                continue
            bad += run.status in ("failed", "cancelled")
            print(render.json_line(run, number)) if as_json else out.print(render.row(number, run))
    if bad:
        raise typer.Exit(1)
