"""The process that `test_interrupt.py` interrupts: plain Python, no command line around it."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from agentfleet import Fleet, Session, graph, step
from agentfleet.ledger.open import open_ledger

FOLDER = Path(sys.argv[1])
PATIENCE = 20.0


def log(line: str) -> None:
    with (FOLDER / "log").open("a") as file:
        file.write(line + "\n")


async def until_released(name: str) -> None:
    """Goes on when the test says so, or when it is cancelled."""
    end = time.monotonic() + PATIENCE
    while not (FOLDER / "release").exists() and time.monotonic() < end:
        await asyncio.sleep(0.005)
    log(f"{name} ended")


@step
def before(text: str) -> str:
    log("before")
    return text + "1"


@step
async def slow(text: str) -> str:
    log("slow")
    await until_released("slow")
    return text + "2"


@step
def after(text: str) -> str:
    log("after")
    return text + "3"


@graph
def chain(text: str) -> str:
    return after(slow(before(text)))


def main(how: str) -> None:
    session = Session(Fleet([]), open_ledger(FOLDER / "ledger.sqlite", FOLDER), FOLDER)
    try:
        if how == "run":
            run = session.run(chain, {"text": "x"})
        elif how == "many":
            session.run_many(chain, [{"text": "x"}, {"text": "y"}], 1, lambda index, run: log(f"{index} {run.status}"))
            return
        else:
            run = session.resume(session.ledger.runs()[0].id, chain)
        log(f"value {run.value}")
    except KeyboardInterrupt as pressed:
        log(f"interrupted {session.ledger.runs()[0].status} {' '.join(getattr(pressed, '__notes__', []))}")
        raise
    finally:
        session.close()


if __name__ == "__main__":
    main(sys.argv[2])
