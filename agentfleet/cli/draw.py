"""``agentfleet draw``: a graph as Mermaid text or SVG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentfleet.cli.app import Json, app
from agentfleet.cli.find import find_graph
from agentfleet.errors import UsageError
from agentfleet.fleet.config import project_root


@app.command()
def draw(
    graph: Annotated[str, typer.Argument(help="NAME, path.py:attr or module:attr.")],
    svg: Annotated[Path | None, typer.Option("--svg", help="Write an SVG file instead.")] = None,
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
        svg.write_text(pictures.svg(step), encoding="utf-8")
        print(svg)
    else:
        print(json.dumps(pictures.to_dict(step)) if as_json else pictures.mermaid(step))
