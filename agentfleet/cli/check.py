"""``agentfleet check``: is a graph sound, and does it fit this fleet? Nothing is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app, chosen_fleet
from agentfleet.cli.find import find_graph, graph_names
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import Fleet


@app.command()
def check(
    graph: Annotated[str | None, typer.Argument(help="A graph; without one all of the project and the stock.")] = None,
    frontier: Frontier = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Check graphs against themselves and the fleet.

    Examples:

      agentfleet check

      agentfleet check support_desk --fleet agentfleet.toml
    """
    root = project_root()
    models = chosen_fleet(frontier, fleet)
    found = {name: _problems(name, root, models) for name in ([graph] if graph else graph_names(root))}
    if as_json:
        print(json.dumps({"problems": found}))
    else:
        out = render.console()
        for name, problems in found.items():
            for problem in problems or ["ok"]:
                out.print(f"{render.safe(name)}: {render.safe(problem)}")
    if any(found.values()):
        raise typer.Exit(1)


def _problems(name: str, root: Path, fleet: Fleet) -> list[str]:
    from agentfleet.graph.check import retrace_problems
    from agentfleet.routing.fit import check_fit

    step = find_graph(name, root)
    problems = retrace_problems(step) if step.kind == "graph" else []
    try:
        check_fit(step, fleet)
    except AgentfleetError as error:
        problems.append(str(error))
    return problems
