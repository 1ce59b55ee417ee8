"""``agentfleet check``: is a graph sound, and does it fit this fleet? Nothing is called."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app
from agentfleet.cli.find import find_graph, graph_names
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.config import current_fleet, load_fleet, project_root


@app.command()
def check(
    graph: Annotated[str | None, typer.Argument(help="A graph; without one all of the project and stock.")] = None,
    frontier: Frontier = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Check graphs against themselves and the fleet.

    Examples:

      agentfleet check

      agentfleet check support_desk --fleet examples/fleets/local.toml
    """
    root = project_root()
    models = load_fleet(fleet) if fleet is not None else current_fleet(root, frontier or ())
    found = {name: _problems(name, root, models) for name in ([graph] if graph else graph_names(root))}
    if as_json:
        print(json.dumps({"problems": found}))
    for name, problems in found.items() if not as_json else ():
        for problem in problems or ["ok"]:
            render.console().print(f"{render.safe(name)}: {render.safe(problem)}")
    if any(found.values()):
        raise typer.Exit(1)


def _problems(name: str, root: object, fleet: object) -> list[str]:
    from agentfleet.graph.check import retrace_problems
    from agentfleet.routing.fit import check_fit

    step = find_graph(name, root)  # type: ignore[arg-type]
    problems = retrace_problems(step) if step.kind == "graph" else []
    try:
        check_fit(step, fleet)  # type: ignore[arg-type]
    except AgentfleetError as error:
        problems.append(str(error))
    return problems
