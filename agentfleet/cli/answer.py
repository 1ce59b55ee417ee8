"""``agentfleet answer``: a person's answer for a step that waits."""

from __future__ import annotations

from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import app, opened


@app.command()
def answer(
    run: Annotated[str, typer.Argument(help="Id of the run; its first letters will do.")],
    node: Annotated[str, typer.Argument(help="Path of the step that waits, as `agentfleet show` names it.")],
    value: Annotated[str, typer.Argument(help="The answer: JSON, or the bare text of an option.")],
    go_on: Annotated[bool, typer.Option("--resume", help="Go on with the run at once.")] = False,
) -> None:
    """Answer a step that waits.

    Examples:

      agentfleet answer 01jd approval approve

      agentfleet answer 01jd order '{"order_id": "AB-123456", "amount": 12.5}' --resume
    """
    out = render.console()
    with opened() as session:
        session.answer(run, node, value)
        if go_on:
            out.print(render.row(1, session.resume(run)))
            return
        others = session.read(run).waiting
    rest = f"; still waiting: {', '.join(wait.path for wait in others)}" if others else ""
    out.print(f"recorded{rest}. To go on: agentfleet resume {run}")
