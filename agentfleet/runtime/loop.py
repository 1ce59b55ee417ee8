"""agentfleet's own event loop on its own thread: runs live here, so that blocking calls work in scripts and notebooks."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

from agentfleet.errors import UsageError

if TYPE_CHECKING:
    from agentfleet.runtime.context import RunContext

T = TypeVar("T")

CANCEL_SECONDS = 5.0
"""How long a second Ctrl-C waits until the run that it cancelled is recorded as paused."""


class Halt:
    """Ctrl-C for the one run that a thread waits for. `ended` is set when it has been committed how the run ended."""

    def __init__(self) -> None:
        self.context: RunContext | None = None
        self.pressed = False
        self.ended = threading.Event()

    def take(self, context: RunContext) -> None:
        """This is the run; it takes up nothing when Ctrl-C came before it."""
        self.context = context
        if self.pressed:
            context.stopping = True

    def press(self) -> None:
        """Take up no new node."""
        self.pressed = True
        if self.context is not None:
            self.context.stopping = True


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

    def block(self, work: Coroutine[Any, Any, T], name: str, halt: Halt) -> T:
        """Run and wait. In another running loop (notebooks excepted) raises UsageError that names the awaitable form.

        Ctrl-C lets what is in flight end, a second one cancels it; both leave a run that `resume` goes on with.
        """
        if running_loop() is not None and not in_notebook():
            work.close()
            instead = "session.aresume" if name == "session.resume" else f"{name}.arun"
            raise UsageError(
                f"{name} was called while an event loop is running, which it would block; write: await {instead}(...)"
            )
        future = self.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt as pressed:
            halt.press()
            self._drain(future, halt)
            if halt.context is not None:
                pressed.add_note(
                    f"run {halt.context.id} is kept; to go on with it: agentfleet resume {halt.context.id}"
                )
            raise

    @staticmethod
    def _drain(future: Future[Any], halt: Halt) -> None:
        try:
            wait([future])
        except KeyboardInterrupt:
            future.cancel()
            halt.ended.wait(CANCEL_SECONDS)


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
