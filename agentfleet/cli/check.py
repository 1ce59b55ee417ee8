"""``agentfleet check``: is a graph sound, and does it fit this fleet? Nothing is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app, chosen_fleet, error_line
from agentfleet.cli.find import find_graph, graph_names
from agentfleet.errors import MissingKey
from agentfleet.fleet.config import project_root, resolve_key
from agentfleet.fleet.model import Fleet


@app.command()
def check(
    graph: Annotated[
        str | None, typer.Argument(metavar="GRAPH", help="A graph; without one all of the project and the stock.")
    ] = None,
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
    if graph:
        found = {graph: _problems(graph, root, models)}
    else:
        found = {name: _problems_if_it_loads(name, root, models) for name in graph_names(root)}
    if as_json:
        print(json.dumps({"problems": found}))
    else:
        out = render.console()
        for name, problems in found.items():
            for problem in problems or ["ok"]:
                out.print(f"{render.safe(name)}: {render.safe(problem)}")
    if any(found.values()):
        raise typer.Exit(1)


def _problems_if_it_loads(name: str, root: Path, fleet: Fleet) -> list[str]:
    """Of many graphs one that cannot be imported is itself a problem, and does not hide the others."""
    try:
        return _problems(name, root, fleet)
    except Exception as error:
        return [error_line(error)]


def _problems(name: str, root: Path, fleet: Fleet) -> list[str]:
    from agentfleet.graph.check import retrace_problems
    from agentfleet.routing.fit import label_problems, tier_problems

    step = find_graph(name, root)
    problems = retrace_problems(step) if step.kind == "graph" else []
    tiers = list(tier_problems(step, fleet))
    labels = [] if tiers else label_problems(step, fleet)  # without its tiers a ladder has no models to ask about
    return [*problems, *tiers, *labels, *_key_problems(fleet)]


def _key_problems(fleet: Fleet) -> list[str]:
    found = []
    for model in fleet.models:
        try:
            resolve_key(model)
        except MissingKey as error:
            found.append(str(error))
    return found
