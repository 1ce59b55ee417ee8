"""The process that `test_kill.py` kills: one run under a key, every call written to a log with fsync first."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agentfleet import Fleet, Model, ask, extract, graph, step, summarise
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.ledger.open import open_ledger
from agentfleet.runtime.session import Session


class Note(BaseModel):
    text: str


class Log:
    """Lines that are on disk before the call goes on."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: str) -> None:
        os.write(self.file, (line + "\n").encode())
        os.fsync(self.file)


LOG: Log


class Logged:
    """A paid model: logs, thinks for a moment, and breaks the schema at its first try in some steps."""

    context = None

    def count(self, request: Request) -> int:
        return 10

    async def complete(self, request: Request) -> Completion:
        path = request.params["path"]
        tries = sum(note.kind == "re-ask" for note in request.prompt.notes) + 1
        LOG.write(f"call {path} {tries}")
        await asyncio.sleep(random.random() * 0.02)
        good = tries > 1 or not path.startswith("b")
        if request.output.kind == "text":
            return Completion(f"summary of {path}", "logged", usage=Usage(10, 5))
        return Completion('{"text": "x"}' if good else '{"txt": 1}', "logged", usage=Usage(10, 5))

    async def close(self) -> None:
        return None


@extract(tier="large")
def a(text: str) -> Note:
    """Note."""
    return ask(text)


@extract(tier="large")
def b(note: Note) -> Note:
    """Note b."""
    return ask(note)


@summarise(tier="large")
def c(note: Note) -> str:
    """Summary c."""
    return ask(note)


@step(effect=True)
async def e(note: Note) -> str:
    LOG.write("effect e 1")
    await asyncio.sleep(random.random() * 0.02)
    return note.text


@step
def g(text: str) -> str:
    return text.upper()


@step(effect=True)
def f(left: str, right: str) -> str:
    LOG.write("effect f 1")
    return f"{left}|{right}"


@graph
def crooked(text: str) -> str:
    first = a(text)
    left, right = e(b(first)), g(c(first))
    return f(left, right)


def main(folder: Path, key: str) -> None:
    global LOG
    LOG = Log(folder / "calls.log")
    model = Model(
        name="logged", backend="scripted", tier="large", location="cloud", price={"input": 1.0, "output": 2.0}
    )
    backends: dict[str, Any] = {"logged": Logged()}
    session = Session(Fleet([model]), open_ledger(folder / "ledger.sqlite", folder), folder, backends=backends)
    print("ready", flush=True)
    run = session.run(crooked.using(key=key), {"text": key})
    print(run.status, run.value, run.repeated, flush=True)
    session.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
