"""``agentfleet answer``: a person's answer for a step that waits."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, RunId, app, opened


@app.command()
def answer(
    run: RunId,
    node: Annotated[
        str, typer.Argument(metavar="NODE", help="Path of the step that waits, as `agentfleet show` names it.")
    ],
    value: Annotated[str, typer.Argument(metavar="ANSWER", help="JSON, or the bare text of an option.")],
    go_on: Annotated[bool, typer.Option("--resume", help="Go on with the run at once.")] = False,
    as_json: Json = False,
) -> None:
    """Answer a step that waits.

    Examples:

      agentfleet answer 01jd approval approve

      agentfleet answer 01jd order '{"order_id": "AB-123456"}' --resume
    """
    with opened() as session:
        session.answer(run, node, value)
        record = session.resume(run) if go_on else session.read(run)
    if as_json:
        print(json.dumps(record.to_json()))
        return
    out = render.console()
    if go_on:
        out.print(render.row(1, record))
        render.print_value(out, record)
        return
    others = ", ".join(wait.path for wait in record.waiting)
    out.print(f"recorded{f'; still waiting: {others}' if others else ''}. To go on: agentfleet resume {record.id}")
