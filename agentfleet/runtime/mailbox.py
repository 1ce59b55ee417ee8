"""Hands work from one thread's event loop to another's. Waking a loop costs a system call, so that a thousand letters
that arrive together wake it once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
Letter = tuple[Callable[..., object], tuple[Any, ...]]


class Mailbox:
    """Calls that other threads want made on one loop, in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake = loop.call_soon_threadsafe
        self._complain = loop.call_exception_handler
        self._letters: deque[Letter] = deque()
        self._awake = False

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn(*args)` called on the loop soon. Raises RuntimeError when the loop is closed."""
        self._letters.append((fn, args))
        if not self._awake:  # after the append: a drain that has just ended will not have seen the letter
            self._awake = True
            self._wake(self._drain)

    def _drain(self) -> None:
        self._awake = False
        with suppress(IndexError):
            while True:
                fn, args = self._letters.popleft()
                try:
                    fn(*args)
                except Exception as error:
                    self._complain({"message": f"{fn!r} failed", "exception": error})


_boxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = WeakKeyDictionary()


def mailbox(loop: asyncio.AbstractEventLoop) -> Mailbox:
    """The mailbox of a loop."""
    found = _boxes.get(loop)
    return _boxes.setdefault(loop, Mailbox(loop)) if found is None else found


def awaited(future: Future[T]) -> asyncio.Future[T]:
    """A future of another thread, to be awaited on the running loop; going away does not cancel it."""
    loop = asyncio.get_running_loop()
    box, here = mailbox(loop), loop.create_future()
    future.add_done_callback(lambda ended: box.post(_copy, ended, here))
    return here


def hand_over(work: Coroutine[Any, Any, T], there: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    """Run a coroutine on another loop, with the caller's context variables; cancelling the future cancels it."""
    loop = asyncio.get_running_loop()
    box, other, here, context = mailbox(loop), mailbox(there), loop.create_future(), copy_context()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        if here.cancelled():
            work.close()
            return
        task = there.create_task(work, context=context)
        tasks.append(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[T]) -> None:
        with suppress(RuntimeError):  # the caller's loop is closed: nobody waits any more
            box.post(_copy, task, here)

    def left(future: asyncio.Future[T]) -> None:
        if future.cancelled():
            other.post(lambda: [task.cancel() for task in tasks])

    here.add_done_callback(left)
    other.post(begin)
    return here


def _copy(source: Future[Any] | asyncio.Future[Any], target: asyncio.Future[Any]) -> None:
    if target.done():
        if not source.cancelled():
            source.exception()  # seen, so that asyncio does not complain of it
    elif source.cancelled():
        target.cancel()
    elif (error := source.exception()) is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())
