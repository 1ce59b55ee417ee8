"""Many runs of one graph, a few at once; Ctrl-C drains what is in flight and leaves the rest for `resume`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentfleet.runtime.loop import LOOP
from agentfleet.runtime.run import Run

if TYPE_CHECKING:
    from agentfleet.graph.step import Step
    from agentfleet.runtime.session import Session

OnDone = Callable[[int, Run[Any]], None]


def run_many(
    session: Session, step: Step[..., Any], rows: Sequence[Mapping[str, Any]], at_once: int, on_done: OnDone
) -> list[Run[Any] | None]:
    """The runs in the order of `rows`; None for rows that were not begun before an interrupt.

    `on_done(index, run)` is called from the loop's thread as each ends. Raises KeyboardInterrupt after draining.
    """
    results: list[Run[Any] | None] = [None] * len(rows)
    stop = asyncio.Event()
    future = LOOP.submit(_all(session, step, rows, at_once, on_done, results, stop))
    try:
        future.result()
    except KeyboardInterrupt:
        LOOP.loop.call_soon_threadsafe(stop.set)
        session.stop()
        try:
            future.result()
        except KeyboardInterrupt:
            future.cancel()
        raise
    return results


async def _all(
    session: Session,
    step: Step[..., Any],
    rows: Sequence[Mapping[str, Any]],
    at_once: int,
    on_done: OnDone,
    results: list[Run[Any] | None],
    stop: asyncio.Event,
) -> None:
    pending = iter(enumerate(rows))

    async def worker() -> None:
        for index, row in pending:
            if stop.is_set():
                return
            try:
                run = results[index] = await session.arun(step, row)
                on_done(index, run)
            except BaseException:
                stop.set()  # the others end what they have begun, so that nothing is left behind
                raise

    ends = await asyncio.gather(*(worker() for _ in range(max(1, min(at_once, len(rows))))), return_exceptions=True)
    for error in ends:
        if error is not None:
            raise error
