"""Watching a run while it goes on: every step, every attempt, at last the record. Scripted: the first answer is bad.

$ python examples/stream_events.py
urgency begins
urgency: attempt 1 on nano is invalid
urgency: attempt 2 on nano is valid
urgency is done: 'today'
reply begins
reply: attempt 1 on small is valid
reply is done: 'A plumber comes at noon.'
end: done, 'A plumber comes at noon.'
"""

from __future__ import annotations

import asyncio
from typing import Literal

from agentfleet import ask, classify, graph, summarise, when
from agentfleet.runtime.events import AttemptMade, RunFinished, StepFinished, StepStarted
from agentfleet.testing import scripted


@classify(tier="nano")
def urgency(mail: str) -> Literal["today", "later"]:
    """When must somebody answer this?"""
    return ask(mail)


@summarise(tier="small")
def reply(mail: str) -> str:
    """A short answer to the mail."""
    return ask(mail)


@graph
def triage(mail: str) -> str:
    """Urgent mail is answered, the rest waits its turn."""
    return when(urgency(mail) == "today", reply(mail), otherwise="in the queue")


async def main() -> None:
    """In a notebook: ``await main()``."""
    async for event in triage.stream(mail="Water is coming through the ceiling!"):
        match event:
            case StepStarted(path=path):
                print(f"{path} begins")
            case AttemptMade(path=path, attempt=one):
                print(f"{path}: attempt {one.number} on {one.tier} is {one.outcome}")
            case StepFinished(path=path, step=record):
                print(f"{path} is {record.state}: {record.value!r}")
            case RunFinished(run=run):
                print(f"end: {run.status}, {run.value!r}")


if __name__ == "__main__":
    with scripted({"urgency": ["at once", "today"], "reply": "A plumber comes at noon."}):
        asyncio.run(main())
