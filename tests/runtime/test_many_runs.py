"""Many runs of one graph at once: bounded, independent of each other, none left behind when something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentfleet import Session, graph, step
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]


class Seen:
    """How many were at work together."""

    now = 0
    most = 0


@step
async def work(text: str) -> str:
    Seen.now += 1
    Seen.most = max(Seen.most, Seen.now)
    await asyncio.sleep(0.005)
    Seen.now -= 1
    if text == "bad":
        raise ValueError("bad")
    return text.upper()


@graph
def job(text: str) -> str:
    return work(text)


def rows(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text} for text in texts]


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_so_many_at_once_and_no_more(opened: Opened, at_once: int) -> None:
    session, _ = opened()
    Seen.most = 0
    done: list[int] = []
    texts = [str(number) for number in range(10)]
    runs = session.run_many(job, rows(*texts), at_once, lambda index, run: done.append(index))
    assert [run.value for run in runs if run is not None] == texts and sorted(done) == list(range(10))
    assert Seen.most == min(at_once, 10)
    assert len({run.id for run in runs if run is not None}) == 10


def test_one_that_fails_stops_no_other(opened: Opened) -> None:
    session, _ = opened()
    runs = session.run_many(job, rows("a", "bad", "c"), 2, lambda index, run: None)
    assert [run.status for run in runs if run is not None] == ["done", "failed", "done"]


def test_no_rows_are_no_runs(opened: Opened) -> None:
    session, _ = opened()
    assert session.run_many(job, [], 4, lambda index, run: None) == []


def test_a_listener_that_raises_leaves_nothing_running(opened: Opened) -> None:
    session, _ = opened()

    def on_done(index: int, run: Any) -> None:
        raise OSError("the pipe is closed")

    with pytest.raises(OSError, match="pipe"):
        session.run_many(job, rows(*"abcdefgh"), 2, on_done)
    assert session._active == {}
    states = [row.status for row in session.ledger.runs()]
    assert set(states) == {"done"} and len(states) == 2, "what had begun has ended, and nothing more was begun"


def test_many_runs_at_once_from_many_threads(opened: Opened) -> None:
    from concurrent.futures import ThreadPoolExecutor

    session, _ = opened()
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda text: session.run(job, {"text": text}), "abcdefgh"))
    assert [run.value for run in runs] == list("ABCDEFGH")
