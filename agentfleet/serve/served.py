"""The served model: admits a bounded number of calls, hands them to the engine's queue, and keeps count of its load."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any, Final, TypeVar

from starlette.requests import Request as HttpRequest

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp.engine import LlamaCpp
from agentfleet.errors import BackendError
from agentfleet.serve.problems import Problem, of_backend

SEEN: Final = 64
"""Calls from which the times of /health are taken."""

T = TypeVar("T")


class Gone(Exception):
    """The client closed the connection; its call was stopped."""


class Served:
    """One model behind the endpoint. `most`: calls that may run or wait; one more is told to come back later.

    `identity`: what tells these weights from others (their sha256).
    """

    def __init__(self, engine: LlamaCpp, name: str, most: int = 32, identity: str = "") -> None:
        self.engine = engine
        self.name = name
        self.most = most
        self.identity = identity
        self.inside = 0
        self.answered = 0
        self._read: deque[float] = deque(maxlen=SEEN)
        self._written: deque[float] = deque(maxlen=SEEN)
        self._seconds: deque[float] = deque(maxlen=SEEN)

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        return self.engine.context or 0

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """A place among the calls that run or wait. Raises Problem 429 when there is none."""
        if self.inside >= self.most:
            wait = max(1, round(self.inside * median(self._seconds or [1.0])))
            raise Problem(
                429,
                f"{self.inside} calls run or wait, which is the most that {self.name} takes; try again later",
                code="queue_full",
                retry_after=wait,
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def complete(self, request: Request, param: str) -> Completion:
        """One call; `max_tokens` 0 means all that the context leaves. Cancelling it stops the decoding.

        `param`: the field that holds the prompt. Raises Problem.
        """
        with self._admitted():
            limit = await self._room(request, param)
            first = _First(request.listen)
            try:
                done = await self.engine.complete(replace(request, max_tokens=limit, listen=first.heard))
            except BackendError as error:
                raise of_backend(error) from None
            self._note(done, first.since())
            return done

    async def _room(self, request: Request, param: str) -> int:
        """Tokens that the answer may have. Raises Problem 413 that says how many tokens are too many."""
        try:
            prompt = len(await asyncio.to_thread(self.engine.prompt_tokens, request.prompt.messages()))
        except BackendError as error:  # turns that the chat template does not know
            raise Problem(400, str(error), param) from None
        wanted = request.max_tokens or 1
        over = prompt + wanted - self.context
        if over > 0:
            raise Problem(
                413,
                f"{prompt} tokens of prompt and {wanted} of answer are {over} more than the {self.context} of {self.name}",
                param,
                "context_length_exceeded",
                tokens_over=over,
            )
        return request.max_tokens or self.context - prompt

    def _note(self, done: Completion, writing: float) -> None:
        """`writing`: seconds from the first token to the end."""
        self.answered += 1
        self._seconds.append(done.seconds)
        fresh, written = done.usage.input_tokens - done.usage.cached_tokens, done.usage.output_tokens
        if fresh > 0 and written > 0:  # the time of a decision goes into its options as well
            self._read.append(max(0.0, done.seconds - writing) / fresh)
        if written > 1:
            self._written.append(writing / (written - 1))

    def load(self) -> dict[str, Any]:
        """What /health says. Times are medians of the last calls, in milliseconds; None before there was one."""
        waiting = min(self.engine.waiting, self.inside)
        return {
            "status": "ok",
            "model": self.name,
            "running": self.inside - waiting,
            "queue": waiting,
            "queue_most": self.most,
            "answered": self.answered,
            "ms_per_input_token": _milliseconds(self._read),
            "ms_per_output_token": _milliseconds(self._written),
        }


class _First:
    """When the first token of an answer was there; hands the text on to who wants it."""

    def __init__(self, listen: Callable[[str], None] | None) -> None:
        self._at: float | None = None
        self._listen = listen

    def heard(self, text: str) -> None:
        if self._at is None:
            self._at = time.perf_counter()
        if self._listen is not None:
            self._listen(text)

    def since(self) -> float:
        """Seconds since then; 0 when nothing was written."""
        return 0.0 if self._at is None else time.perf_counter() - self._at


def _milliseconds(seen: deque[float]) -> float | None:
    return round(median(seen) * 1000, 3) if seen else None


async def unless_gone(request: HttpRequest, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. When the client closes the connection meanwhile, the work is cancelled. Raises Gone."""
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        left.cancel()
        task.cancel()


async def _left(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
