"""``agentfleet draw``: a graph as Mermaid text or SVG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentfleet.cli.app import GraphName, Json, app
from agentfleet.cli.find import find_graph
from agentfleet.errors import UsageError
from agentfleet.fleet.config import project_root


@app.command()
def draw(
    graph: GraphName,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG picture instead.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a graph.

    Examples:

      agentfleet draw support_desk

      agentfleet draw support_desk --svg desk.svg
    """
    from agentfleet.graph import draw as pictures

    step = find_graph(graph, project_root())
    if step.kind != "graph":
        raise UsageError(f"{graph} is a {step.kind}, not a graph")
    if svg is not None:
        try:
            svg.write_text(pictures.svg(step), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {svg}: {error.strerror or error}") from None
        print(svg)
    else:
        print(json.dumps(pictures.to_dict(step)) if as_json else pictures.mermaid(step))
