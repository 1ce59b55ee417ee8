"""``agentfleet show``: one run with its steps, attempts, cost and what it waits for."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, app, opened


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of the run; its first letters will do.")],
    attempts: Annotated[bool, typer.Option("--attempts", help="Every prompt and answer.")] = False,
    as_json: Json = False,
) -> None:
    """Show one run.

    Examples:

      agentfleet show 01jd

      agentfleet show 01jd --attempts
    """
    with opened() as session:
        record = session.read(run)
    if as_json:
        print(json.dumps(record.to_json()))
        return
    out = render.console()
    out.print(render.steps_table(record, attempts))
    if record.error:
        out.print(f"error: {render.safe(record.error)}")
    for wait in record.waiting:
        out.print(f"waits: {render.safe(wait.path)} ({wait.reason}): {render.safe(wait.why)}")
        out.print(f"  answer: agentfleet answer {record.id} {render.safe(wait.path)} JSON")
        out.print(f"  wanted: {render.safe(json.dumps(dict(wait.schema)), 300)}")
    if attempts:
        for line in render.attempts_text(record):
            out.print(line)
