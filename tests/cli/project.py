"""What the tests of the command line run on: two graphs that need no model, commands as processes, what they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOST = 120
"""Seconds after which a process counts as hanging."""

_begun: list[subprocess.Popen[bytes]] = []

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


def start(folder: Path, *arguments: str, command: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
    """``agentfleet ARGUMENTS`` as a process in `folder`, with nothing of ours or of a provider in its environment.

    `command`: what starts it, as a shell would; by default this interpreter.
    """
    foreign = ("AGENTFLEET_", "ANTHROPIC_", "OPENAI_")
    known = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "agentfleet.cli.main", *arguments],
        cwd=folder,
        env={**known, "PYTHONPATH": search, "PYTHONUTF8": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _begun.append(process)
    return process


def end_all() -> None:
    """End what a test that failed has left running."""
    while _begun:
        process = _begun.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def ended(process: subprocess.Popen[bytes], given: bytes = b"") -> Result:
    """What a process did; `given` is its standard input."""
    out, err = process.communicate(given, timeout=MOST)
    return Result(process.returncode, out.decode(), err.decode())


def until(condition: Path) -> None:
    """Wait for a file that another process makes."""
    end = time.monotonic() + MOST
    while not condition.exists():
        assert time.monotonic() < end, f"{condition} never came"
        time.sleep(0.01)
