"""What the tests of the command line run on: two graphs that need no model, and what a command did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIAGE = '''\
from typing import Literal

from agentfleet import ask, classify, graph, step, when

GOLD = {"kind": "urgency", "text": "value"}


@classify(tier="person")
def urgency(mail: str) -> Literal["today", "never"]:
    """When must somebody answer this?"""
    if "now" in mail:
        return "today"
    return ask(mail)


@step(effect=True)
async def ring(mail: str) -> str:
    if "boom" in mail:
        raise ValueError("the bell broke")
    return mail.upper()


@graph
def triage(mail: str) -> str:
    return when(urgency(mail) == "today", ring(mail), otherwise="later")
'''

SUPPORT_DESK = """\
from agentfleet import graph, step


@step
def gist(email: str) -> str:
    return email[:20]


@graph
def support_desk(email: str) -> str:
    return gist(email)
"""


@dataclass
class Result:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its lines as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Result]


def write_rows(path: Path, *rows: object) -> None:
    """A JSONL file; a str stands as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
