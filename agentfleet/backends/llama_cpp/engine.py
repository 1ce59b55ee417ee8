"""The backend `llama_cpp`: one owner thread per model and a queue before it; asyncio only ever waits.

The model is loaded at the first request. Packages: the extra `local`.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.llama_cpp.cores import physical_cores
from agentfleet.backends.llama_cpp.decode import Cancelled
from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.backends.llama_cpp.native import Weights
from agentfleet.errors import BackendError, FleetError, MissingExtra
from agentfleet.prompt import Message

NEEDS: Final = ("llama_cpp", "llguidance", "outlines")
"""The packages of the extra `local` that this backend needs."""
COUNTED: Final = 32
"""Tokenized prompts that are kept: one is counted, then completed."""

Work = Callable[[Answerer, Callable[[], bool]], Any]


@dataclass(slots=True)
class _Job:
    work: Work
    future: Future[Any] = field(default_factory=Future)
    cancelled: bool = False


class LlamaCpp:
    """A GGUF model in this process.

    `path`: the file. `context`: tokens of prompt and answer together (at most what the model was trained with).
    `threads`: default one for each physical core. Raises MissingExtra, ModelFileError or FleetError; loads nothing yet.
    """

    def __init__(self, path: Path | str, name: str, context: int = 4096, threads: int | None = None) -> None:
        for package in NEEDS:
            if find_spec(package) is None:
                raise MissingExtra(f"model {name!r} needs the package {package}. Run: pip install 'agentfleet[local]'")
        if context < 1 or (threads is not None and threads < 1):
            raise FleetError(f"model {name!r}: context and threads must be at least 1")
        self.path = Path(path)
        self.name = name
        header = read_header(self.path)
        self._context = min(context, header.trained_context or context)
        self._threads = threads or physical_cores()
        self._lock = threading.RLock()
        self._loaded: tuple[Weights, Chat] | None = None
        self._counted: OrderedDict[tuple[Message, ...], list[int]] = OrderedDict()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together."""
        return self._context

    def load(self) -> None:
        """Load the model now (blocks, from any thread), so that the first `count` need not."""
        self._load()

    def count(self, request: Request) -> int | None:
        """Exact tokens of the rendered prompt; the first call loads the model (about 0.3 s for a small one)."""
        return len(self._tokens(request.prompt.messages()))

    async def complete(self, request: Request) -> Completion:
        """One call. Raises BackendError when it does not fit; a cancelled call stops at the next token."""
        if self._loaded is None:
            await asyncio.to_thread(self.load)
        prompt = self._tokens(request.prompt.messages())
        self._check_fit(len(prompt), 1 if request.output.kind == "closed" else request.max_tokens)
        job = self._submit(lambda model, cancelled: model.answer(request, prompt, cancelled))
        try:
            completion: Completion = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancelled = True
            raise
        return completion

    def call(
        self, messages: list[Message], limit: int, work: Callable[[Answerer, list[int], Callable[[], bool]], Any]
    ) -> Any:
        """Do something with the loaded model on its owner thread and wait for it (blocks; not for event loops)."""
        prompt = self._tokens(messages)
        self._check_fit(len(prompt), limit)
        return self._submit(lambda model, cancelled: work(model, prompt, cancelled)).future.result()

    @property
    def weights(self) -> Weights:
        """The loaded weights; loads them."""
        return self._load()[0]

    async def close(self) -> None:
        """Stop the call that runs, refuse those that wait, free the memory."""
        await asyncio.to_thread(self.shut)

    def shut(self, wait: float | None = None) -> None:
        """`close` for code without an event loop. `wait`: seconds at most."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(wait)
        else:
            self._free()

    def _check_fit(self, prompt: int, limit: int) -> None:
        if prompt + limit > self._context:
            raise BackendError(
                f"{self.name}: a prompt of {prompt} tokens plus {limit} exceeds the context of {self._context}"
            )

    def _tokens(self, messages: list[Message]) -> list[int]:
        key = tuple(messages)
        found = self._counted.get(key)
        if found is None:
            with self._lock:  # so that nothing is freed meanwhile
                found = self._counted[key] = self._load()[1].tokens(messages)
                if len(self._counted) > COUNTED:
                    self._counted.popitem(last=False)
        return found

    def _load(self) -> tuple[Weights, Chat]:
        with self._lock:
            if self._closed:
                raise BackendError(f"{self.name} is closed")
            if self._loaded is None:
                weights = Weights(self.path)
                self._loaded = (weights, Chat(weights))
            return self._loaded

    def _submit(self, work: Work) -> _Job:
        job = _Job(work)
        with self._lock:
            if self._closed:
                raise BackendError(f"{self.name} is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._own, name=f"llama_cpp {self.name}", daemon=True)
                self._thread.start()
                _opened.add(self)
            self._queue.put(job)
        return job

    def _own(self) -> None:
        """The owner thread: everything native except tokenizing happens here."""
        answerer: Answerer | None = None
        while (job := self._queue.get()) is not None:
            if job.cancelled or not job.future.set_running_or_notify_cancel():
                continue
            if self._closed:
                job.future.set_exception(BackendError(f"{self.name} is closed"))
                continue
            try:
                answerer = answerer or Answerer(*self._load(), self.name, self._context, self._threads)
                job.future.set_result(job.work(answerer, self._flag(job)))
            except Cancelled:
                job.future.set_exception(BackendError(f"{self.name}: the call was cancelled or the model closed"))
            except BaseException as error:
                job.future.set_exception(error)
        if answerer is not None:
            answerer.free()
        self._free()

    def _flag(self, job: _Job) -> Callable[[], bool]:
        return lambda: job.cancelled or self._closed

    def _free(self) -> None:
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded[0].free()


_opened: weakref.WeakSet[LlamaCpp] = weakref.WeakSet()


@atexit.register
def _shut_all() -> None:
    """Native threads must not run into the end of the interpreter."""
    for backend in list(_opened):
        backend.shut(wait=5.0)
