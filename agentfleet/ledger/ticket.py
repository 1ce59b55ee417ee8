"""A light future: thousands of commits a second make one each, and hardly any is waited for.

A plain Future makes a lock, a condition and two lists at birth; this one makes them when somebody looks.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

_PARTS = ("_waiters", "_done_callbacks", "_condition")
_GROWING = threading.Lock()


class Ticket(Future[Any]):
    """The future of something queued. It cannot be cancelled: what was handed in is written.

    Everything but `settle` and the late making of `_PARTS` is the standard Future's, asyncio.wrap_future included.
    """

    _state = "PENDING"
    _result = None
    _exception = None

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

    def settle(self, result: Any, problem: BaseException | None) -> None:
        """Give it its end, cheaply when nobody has looked at it so far."""
        with _GROWING:
            if "_condition" not in self.__dict__:
                self._result = result
                self._exception = problem
                self._state = "FINISHED"
                return
        with suppress(BaseException):  # a callback's SystemExit may not end the thread that answers everybody
            if problem is None:
                self.set_result(result)
            else:
                self.set_exception(problem)
