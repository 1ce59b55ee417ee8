"""A light future: thousands of commits a second make one each, and hardly any is waited for by a thread.

A plain Future makes a lock, a condition and two lists at birth; this one makes them when a thread waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

_PARTS = ("_waiters", "_done_callbacks", "_condition")
_GROWING = threading.Lock()
_FINISHED = "FINISHED"


class Ticket(Future[Any]):
    """The future of something queued. It cannot be cancelled: what was handed in is written.

    Callbacks are called by the thread that settles it, or at once when it has its end already.
    """

    _state = "PENDING"
    _result = None
    _exception = None
    _then: tuple[Callable[[Future[Any]], object], ...] = ()

    def __init__(self) -> None:
        """Nothing yet: the class holds the state of a new one."""

    def __getattr__(self, name: str) -> Any:
        if name not in _PARTS:
            raise AttributeError(name)
        with _GROWING:
            own = self.__dict__
            if "_condition" not in own:
                own["_waiters"] = []
                own["_done_callbacks"] = []
                own["_condition"] = threading.Condition()
            return own[name]

    def cancel(self) -> bool:
        """Always False; an awaiting task may go away, its commit does not."""
        return False

    def cancelled(self) -> bool:
        """Always False."""
        return False

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Call `fn` with this ticket when it has its end; what `fn` raises is lost, as nobody could catch it."""
        with _GROWING:
            if self._state != _FINISHED:
                self._then = (*self._then, fn)
                return
        with suppress(Exception):
            fn(self)

    def result(self, timeout: float | None = None) -> Any:
        """What it was settled with, waiting for it; raises what it was refused with, TimeoutError."""
        if self._state != _FINISHED:
            return super().result(timeout)
        if self._exception is not None:
            raise self._exception
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Why it was refused, or None; waits for its end."""
        return self._exception if self._state == _FINISHED else super().exception(timeout)

    def settle(self, result: Any, problem: BaseException | None) -> None:
        """Give it its end, cheaply when no thread waits for it."""
        with _GROWING:
            self._result, self._exception, self._state = result, problem, _FINISHED
            then, self._then = self._then, ()
            watched = "_condition" in self.__dict__
        if watched:
            self._wake()
        for fn in then:
            with suppress(BaseException):  # a callback's SystemExit may not end the thread that answers everybody
                fn(self)

    def _wake(self) -> None:
        """Threads in `result`, and those of `concurrent.futures.wait`."""
        with self._condition:
            for waiter in self._waiters:
                waiter.add_result(self) if self._exception is None else waiter.add_exception(self)
            self._condition.notify_all()
