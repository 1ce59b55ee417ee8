"""The backend `transformers`: one owner thread per model; requests that wait and are alike are decoded together.

The model is loaded at the first request. Packages: the extra `transformers`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, cast

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.transformers.answer import Answerer
from agentfleet.backends.transformers.weights import Weights
from agentfleet.errors import BackendError, MissingExtra, ModelFileError

NEEDS: Final = ("torch", "transformers", "outlines", "llguidance")
"""The packages that this backend needs."""
BATCH: Final = 8
"""Most requests that are decoded together."""


@dataclass(slots=True)
class _Job:
    request: Request
    prompt: list[int]
    future: Future[Completion] = field(default_factory=Future)
    cancelled: bool = False


class Transformers:
    """A model in this process. `place`: a folder, a GGUF file, or a name in the hub's local cache.

    `context`: tokens of prompt and answer together (at most what the model was trained with). `device`, `dtype`: as
    torch names them. Raises MissingExtra, ModelFileError; loads nothing yet.
    """

    def __init__(
        self,
        place: str,
        name: str,
        context: int = 4096,
        device: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        for package in NEEDS:
            if find_spec(package) is None:
                raise MissingExtra(
                    f"model {name!r} needs the package {package}. Run: pip install 'agentfleet[transformers]'"
                )
        if not place:
            raise ModelFileError(f'model {name!r} of backend transformers needs model = "FOLDER or FILE.gguf"')
        if place.endswith(".gguf") and not Path(place).expanduser().is_file():
            raise ModelFileError(f"model {name!r}: there is no file {place}")
        self.name = name
        self._place = place
        self._context = context
        self._how = (device, dtype, threads)
        self._lock = threading.RLock()
        self._loaded: tuple[Weights, Chat] | None = None
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together."""
        return self._context

    def load(self) -> None:
        """Load the model now (blocks for seconds, from any thread)."""
        with self._lock:
            if self._closed:
                raise BackendError(f"{self.name} is closed")
            if self._loaded is None:
                weights = Weights(self._place, *self._how)
                self._context = min(self._context, weights.context or self._context)
                self._loaded = weights, Chat(cast(Any, weights))

    def count(self, request: Request) -> int | None:
        """Exact tokens of the rendered prompt; the first call loads the model."""
        return len(self._tokens(request))

    async def complete(self, request: Request) -> Completion:
        """One call. Raises BackendError when it does not fit; a cancelled call stops at the next token."""
        if self._loaded is None:
            await asyncio.to_thread(self.load)
        prompt = self._tokens(request)
        limit = 1 if request.output.kind == "closed" else request.max_tokens
        if len(prompt) + limit > self._context:
            raise BackendError(
                f"{self.name}: a prompt of {len(prompt)} tokens plus {limit} exceeds the context of {self._context}"
            )
        job = _Job(request, prompt)
        self._submit(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancelled = True
            raise

    async def close(self) -> None:
        """Stop what runs, refuse what waits, let the model go."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
        self._loaded = None

    def _tokens(self, request: Request) -> list[int]:
        self.load()
        assert self._loaded is not None
        return self._loaded[1].tokens(request.prompt.messages())

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise BackendError(f"{self.name} is closed")
            if self._thread is None:
                name = f"transformers {self.name}"
                self._thread = threading.Thread(target=self._own, name=name, daemon=True)
                self._thread.start()
            self._queue.put(job)

    def _own(self) -> None:
        """The owner thread. What came in meanwhile and has the key of the oldest goes with it."""
        assert self._loaded is not None
        answerer = Answerer(*self._loaded, self.name)
        waiting: list[_Job] = []
        while not self._closed or waiting:
            waiting += self._arrived(wait=not waiting)
            waiting = [job for job in waiting if not job.cancelled]
            if self._closed:
                break
            if waiting:
                together = _alike(answerer, waiting)
                waiting = [job for job in waiting if job not in together]
                self._answer(answerer, together)
        for job in waiting:
            job.future.set_exception(BackendError(f"{self.name} is closed"))

    def _arrived(self, wait: bool) -> list[_Job]:
        found: list[_Job] = []
        try:
            job = self._queue.get() if wait else self._queue.get_nowait()
            while job is not None:
                found.append(job)
                job = self._queue.get_nowait()
        except Empty:
            pass
        return found

    def _answer(self, answerer: Answerer, jobs: Sequence[_Job]) -> None:
        def cancelled() -> bool:
            return self._closed or all(job.cancelled for job in jobs)

        try:
            found = answerer.answer([job.request for job in jobs], [job.prompt for job in jobs], cancelled)
        except BaseException as error:
            if len(jobs) > 1:  # one that fails hurts no other
                for job in jobs:
                    self._answer(answerer, [job])
                return
            if not jobs[0].future.cancelled():
                jobs[0].future.set_exception(error)
            return
        for job, completion in zip(jobs, found, strict=True):
            if not job.future.cancelled():
                job.future.set_result(completion)


def _alike(answerer: Answerer, waiting: Sequence[_Job]) -> list[_Job]:
    key = answerer.key(waiting[0].request)
    if key is None:
        return [waiting[0]]
    return [job for job in waiting if answerer.key(job.request) == key][:BATCH]
