"""Work and its end go from one loop to another: values, errors, cancellation, context variables, many at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar

import pytest

from agentfleet.ledger.ticket import Ticket
from agentfleet.runtime.mailbox import Mailbox, awaited, hand_over

here: ContextVar[str] = ContextVar("here", default="")


@pytest.fixture
def there() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_value_error_and_context_come_across(there: asyncio.AbstractEventLoop) -> None:
    async def answer(value: int) -> tuple[int, str, bool]:
        await asyncio.sleep(0)
        return value, here.get(), asyncio.get_running_loop() is there

    async def fail() -> None:
        raise KeyError("no")

    async def main() -> None:
        here.set("mine")
        assert await asyncio.gather(*(hand_over(answer(n), there) for n in range(100))) == [
            (n, "mine", True) for n in range(100)
        ]
        with pytest.raises(KeyError, match="no"):
            await hand_over(fail(), there)

    asyncio.run(main())


@pytest.mark.parametrize("early", [True, False])
def test_going_away_cancels_the_work(there: asyncio.AbstractEventLoop, early: bool) -> None:
    ended = threading.Event()

    async def slow(began: threading.Event) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
            raise

    async def main() -> None:
        began = threading.Event()
        work = hand_over(slow(began), there)
        if early:
            work.cancel()
            await asyncio.sleep(0.05)
            assert began.is_set() == ended.is_set()
            return
        await asyncio.to_thread(began.wait)
        work.cancel()
        assert await asyncio.to_thread(ended.wait, 10)

    asyncio.run(main())


def test_what_a_letter_raises_is_reported_and_the_next_is_read() -> None:
    async def main() -> tuple[list[int], list[str]]:
        seen: list[int] = []
        problems: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(repr(context["exception"])))
        box = Mailbox(loop)
        box.post(seen.append, 1)
        box.post(lambda: 1 / 0)
        box.post(seen.append, 2)
        await asyncio.sleep(0.01)
        box.post(seen.append, 3)
        await asyncio.sleep(0.01)
        return seen, problems

    seen, problems = asyncio.run(main())
    assert seen == [1, 2, 3]
    assert len(problems) == 1 and "ZeroDivisionError" in problems[0]


@pytest.mark.parametrize("kind", [Ticket, Future])
def test_a_future_of_a_thread_is_awaited(kind: type[Future[int]]) -> None:
    async def main() -> None:
        good, bad, gone = kind(), kind(), kind()
        waiting = [asyncio.ensure_future(awaited(one)) for one in (good, bad, gone)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        for future, settle in ((good, (1, None)), (bad, (None, KeyError("no"))), (gone, (None, KeyError("unseen")))):
            threading.Thread(target=_settle, args=(future, *settle)).start()
        assert await waiting[0] == 1
        with pytest.raises(KeyError, match="no"):
            await waiting[1]
        assert waiting[2].cancelled()
        assert await awaited(good) == 1  # it has its end already

    asyncio.run(main())


def _settle(future: Future[int], value: int | None, problem: BaseException | None) -> None:
    if isinstance(future, Ticket):
        future.settle(value, problem)
    elif problem is not None:
        future.set_exception(problem)
    else:
        future.set_result(value)  # type: ignore[arg-type]
