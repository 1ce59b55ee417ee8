"""agentfleet's own event loop on its own thread: runs live here, so that blocking calls work in scripts and notebooks."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from agentfleet.errors import UsageError

T = TypeVar("T")


class LoopThread:
    """One daemon thread that runs one event loop; started at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    @staticmethod
    def _start() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="agentfleet", daemon=True).start()
        return loop

    def here(self) -> bool:
        """Is the caller running on this loop?"""
        return running_loop() is self._loop and self._loop is not None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Schedule from any thread; the caller's context variables come along."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def block(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run and wait. In another running loop (notebooks excepted) raises UsageError that names the awaitable form."""
        if running_loop() is not None and not in_notebook():
            work.close()
            raise UsageError(
                f"{name} was called while an event loop is running, which it would block; write: await {name}.arun(...)"
            )
        future = self.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def in_notebook() -> bool:
    """Is this IPython or Jupyter, whose main thread always has a loop?"""
    module = sys.modules.get("IPython")
    return module is not None and module.get_ipython() is not None


LOOP = LoopThread()
