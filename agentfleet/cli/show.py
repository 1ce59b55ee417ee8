"""``agentfleet show``: one run with its steps, attempts, cost, DAG and what it waits for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, RunId, app, reading
from agentfleet.fleet.config import project_root
from agentfleet.runtime.record import run_of
from agentfleet.runtime.run import Wait


@app.command()
def show(
    run: RunId,
    attempts: Annotated[bool, typer.Option("--attempts", help="Every prompt and answer.")] = False,
    as_json: Json = False,
) -> None:
    """Show one run.

    Examples:

      agentfleet show 01jd

      agentfleet show 01jd --attempts
    """
    with reading() as ledger:
        whole = ledger.read(run)
    record, row = run_of(whole, None), whole.run
    if as_json:
        print(json.dumps({**record.to_json(), "inputs": json.loads(row.inputs)}))
        return
    out = render.console()
    out.print(render.steps_table(record, attempts))
    for line in graph_lines(json.loads(row.target), project_root()):
        out.print(line)
    render.print_value(out, record)
    if record.error:
        out.print(f"error: {render.safe(record.error)}")
    for wait in record.waiting:
        for line in _wait_lines(record.id, wait):
            out.print(line)
    if attempts:
        for line in render.attempts_text(record):
            out.print(line)


def graph_lines(target: dict[str, str], root: Path) -> list[str]:
    """The DAG as text, a step a line with what it reads; nothing when the graph is no longer to be found."""
    from agentfleet.runtime.target import find_target

    try:
        step = find_target(target, root)
        dag = step.dag if step.kind == "graph" else None
    except Exception:  # the record must be readable when the user's code is not
        return []
    if dag is None:
        return []
    lines = ["graph:"]
    for node in dag.nodes.values():
        reads = ", ".join(_read_names(node, dag)) or "nothing"
        mark = " (only if needed)" if node.id in _conditional(dag) else ""
        lines.append(f"  {render.safe(node.id)} [dim]{node.step.kind}{mark} ← {render.safe(reads)}[/]")
    return lines


def _read_names(node: Any, dag: Any) -> list[str]:
    from agentfleet.graph.dag import Input, children

    def inputs(expr: Any) -> Iterator[str]:
        if isinstance(expr, Input):
            yield expr.name
        for child in children(expr):
            yield from inputs(child)

    given = [name for expr in node.bindings.values() for name in inputs(expr)]
    return list(dict.fromkeys([*given, *dag.depends[node.id]]))


def _conditional(dag: Any) -> set[str]:
    """Nodes that some reader reads only in one branch of a `when`."""
    from agentfleet.graph.dag import When, children, reads

    def inside(expr: Any) -> Iterator[str]:
        if isinstance(expr, When):
            yield from reads(expr.value)
            yield from reads(expr.otherwise)
        for child in children(expr):
            yield from inside(child)

    exprs = [expr for node in dag.nodes.values() for expr in node.bindings.values()]
    return {name for expr in (*exprs, dag.result) for name in inside(expr)}


def _wait_lines(run_id: str, wait: Wait) -> Iterator[str]:
    path = render.safe(wait.path)
    yield f"\n[yellow]waits:[/] {path} ({wait.reason}): {render.safe(wait.why)}"
    for line in wait.question.splitlines():
        yield f"  [dim]│[/] {render.safe(line)}"
    yield f"  wanted: {render.safe(json.dumps(dict(wait.schema)), 600)}"
    yield f"  answer: agentfleet answer {run_id} {path} {render.safe(_an_answer(wait))} --resume"


def _an_answer(wait: Wait) -> str:
    """The first option as one would type it, where there are options; else what has to stand there."""
    options = wait.schema.get("enum") or ["JSON"]
    return shlex.quote(options[0] if isinstance(options[0], str) else json.dumps(options[0]))
