"""``agentfleet resume``: go on with runs that wait, were interrupted or died; nothing committed is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Annotated, Any

import typer

from agentfleet.cli import render
from agentfleet.cli.app import AtOnce, FleetFile, Frontier, Json, app, draining, opened, show_error
from agentfleet.cli.asked import runs_at_once
from agentfleet.errors import AgentfleetError, LedgerBusy, UsageError
from agentfleet.runtime.run import Run

_OPEN = ("waiting", "paused", "running")


@app.command()
def resume(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Runs; none: all that wait or stopped.")
    ] = None,
    rerun: Annotated[
        str | None,
        typer.Option("--rerun", metavar="STEP", help="Forget this step, with all below it, and run it anew."),
    ] = None,
    at_once: AtOnce = None,
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
    runs: list[Run[Any]] = []
    bad = 0
    with opened(frontier, fleet) as session, draining(session.stop) as pressed:
        wanted = ids or [row.id for status in _OPEN for row in session.ledger.runs(status, None, 10_000)]
        together = at_once or runs_at_once(session.fleet)
        for number, found in enumerate(
            _each(wanted, lambda one: session.resume(one, rerun=rerun), together, pressed), 1
        ):
            if isinstance(found, Run):
                runs.append(found)
                print(render.json_line(found, number)) if as_json else render.console().print(render.row(number, found))
            elif isinstance(found, LedgerBusy) and not ids:
                # Everything open was asked for, and that is in good hands.
                render.console(to_stderr=True).print(f"left alone: {render.safe(str(found))}")
            else:
                bad += 1
                show_error(found)
    if not as_json and (runs or not wanted):
        render.console().print(render.totals(runs) if wanted else "nothing waits")
    if pressed:
        raise typer.Exit(130)
    if bad and len(wanted) == 1:
        raise typer.Exit(2)
    if bad or any(run.status in ("failed", "cancelled") for run in runs):
        raise typer.Exit(1)


def _each(
    ids: Sequence[str], resume_one: Callable[[str], Run[Any]], at_once: int, pressed: Sequence[int]
) -> Iterator[Run[Any] | AgentfleetError]:
    """The runs as they end, a few at a time; after Ctrl-C none is begun."""

    def one(run_id: str) -> Run[Any] | AgentfleetError | None:
        if pressed:
            return None
        try:
            return resume_one(run_id)
        except AgentfleetError as error:
            return error

    with ThreadPoolExecutor(at_once) as pool:
        for future in as_completed([pool.submit(one, run_id) for run_id in ids]):
            found = future.result()
            if found is not None:
                yield found
