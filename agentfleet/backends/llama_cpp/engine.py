"""The backend `llama_cpp`: one owner thread per model and a queue before it; asyncio only ever waits.

The model is loaded at the first request. Packages: the extra `local`.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.cache import CHUNK, Cancelled
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.llama_cpp.cores import physical_cores
from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.backends.llama_cpp.native import BATCH, Weights
from agentfleet.backends.llama_cpp.together import Line, Together
from agentfleet.errors import BackendError, CallTimeout, FleetError, MissingExtra
from agentfleet.prompt import Message

NEEDS: Final = ("llama_cpp", "llguidance", "outlines")
"""The packages of the extra `local` that this backend needs."""
COUNTED: Final = 32
"""Tokenized prompts that are kept: one is counted, then completed."""
LARGEST_BATCH: Final = BATCH // 2
"""Tokens of a prompt in one evaluation at most: the rest is for the options of a closed answer."""
PREFIXES: Final = 64
"""Megabytes for evaluated starts of prompts: some 2 800 tokens of the embedded model, a dozen skills."""

Work = Callable[[Answerer, Callable[[], bool]], Any]


@dataclass(slots=True)
class _Job:
    """Work for the owner thread. `timeout`: seconds from when its turn comes; what it waits before is not counted.

    `written`: the request and prompt of an answer that may be written together with others.
    """

    work: Work
    timeout: float | None = None
    written: tuple[Request, list[int]] | None = None
    future: Future[Any] = field(default_factory=Future)
    cancelled: bool = False
    ends: float = math.inf

    @property
    def need(self) -> int:
        """Tokens of the prompt and of the answer at most."""
        return len(self.written[1]) + self.written[0].max_tokens if self.written else 0

    def begin(self) -> None:
        if self.timeout is not None:
            self.ends = time.monotonic() + self.timeout

    def late(self) -> bool:
        return time.monotonic() > self.ends


class LlamaCpp:
    """A GGUF model in this process.

    `path`: the file. `context`: tokens of prompt and answer together (at most what the model was trained with).
    `threads`: default one for each physical core. `prefixes`: megabytes for the evaluated starts of prompts of skills
    that were used before; 0 keeps none. `batch`: tokens of a prompt in one evaluation (40). Raises MissingExtra,
    ModelFileError or FleetError; loads nothing yet.
    """

    times_itself: Final = True
    """`Request.timeout` counts from when a call's turn comes, not from when it is put into the queue."""

    def __init__(
        self,
        path: Path | str,
        name: str,
        context: int = 4096,
        threads: int | None = None,
        prefixes: int = PREFIXES,
        batch: int | None = None,
    ) -> None:
        for package in NEEDS:
            if find_spec(package) is None:
                raise MissingExtra(f"model {name!r} needs the package {package}. Run: pip install 'agentfleet[local]'")
        if context < 1 or (threads is not None and threads < 1):
            raise FleetError(f"model {name!r}: context and threads must be at least 1")
        if prefixes < 0:
            raise FleetError(f"model {name!r}: prefixes must be 0 or more megabytes, not {prefixes}")
        if batch is not None and not 1 <= batch <= LARGEST_BATCH:
            raise FleetError(f"model {name!r}: batch must be 1 to {LARGEST_BATCH} tokens, not {batch}")
        self.path = Path(path)
        self.name = name
        header = read_header(self.path)
        self._context = min(context, header.trained_context or context)
        self._threads = threads or physical_cores()
        self._prefixes = prefixes * 2**20
        self._batch = batch or CHUNK
        self._lock = threading.RLock()
        self._loaded: tuple[Weights, Chat] | None = None
        self._counted: OrderedDict[tuple[Message, ...], list[int]] = OrderedDict()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting: deque[_Job] = deque()  # of the owner thread: taken from the queue to look at
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together."""
        return self._context

    @property
    def waiting(self) -> int:
        """Calls whose turn has not come."""
        return self._queue.qsize() + len(self._waiting)

    def load(self) -> None:
        """Load the model now, so that the first `count` need not. Blocks; in an event loop ``asyncio.to_thread(load)``.

        Safe from any thread and more than once. Raises MissingExtra, ModelFileError, or BackendError when closed.
        """
        self._load()

    def count(self, request: Request) -> int | None:
        """Exact tokens of the rendered prompt. Loads a model that is not loaded (about 0.3 s): `load` it before."""
        return len(self.prompt_tokens(request.prompt.messages()))

    async def complete(self, request: Request) -> Completion:
        """One call. Raises BackendError when it does not fit, CallTimeout when it takes longer than its timeout.

        A cancelled call stops at the next token, or the next 40 tokens of its prompt. Waiting for other calls does not
        count against the timeout.
        """
        if self._loaded is None:
            await asyncio.to_thread(self.load)
        prompt = self.prompt_tokens(request.prompt.messages())
        self._check_fit(len(prompt), 1 if request.output.kind == "closed" else request.max_tokens)
        job = _Job(lambda model, cancelled: model.answer(request, prompt, cancelled), request.timeout)
        job.written = None if request.output.kind == "closed" else (request, prompt)
        self._submit(job)
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
        prompt = self.prompt_tokens(messages)
        self._check_fit(len(prompt), limit)
        return self._submit(_Job(lambda model, cancelled: work(model, prompt, cancelled))).future.result()

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

    def prompt_tokens(self, messages: list[Message]) -> list[int]:
        """The rendered prompt in tokens of the model; the first call loads the model. Do not change the list."""
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

    def _submit(self, job: _Job) -> _Job:
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
        while (job := self._next()) is not None:
            if not self._starts(job):
                continue
            try:
                answerer = answerer or self._answerer()
                job.begin()
                if job.written and self._written_next():
                    self._together(answerer, job)
                else:
                    job.future.set_result(job.work(answerer, self._flag(job)))
            except BaseException as error:
                self._failed(job, error)
        if answerer is not None:
            answerer.free()
        self._free()

    def _next(self) -> _Job | None:
        """The job whose turn it is, when there is one; None when the model closes."""
        return self._waiting.popleft() if self._waiting else self._queue.get()

    def _written_next(self) -> bool:
        """Does an answer wait that could be written together with others?"""
        if not self._waiting:
            with suppress(Empty):
                job = self._queue.get_nowait()
                if job is None:  # closing: the owner must find it again
                    self._queue.put(None)
                else:
                    self._waiting.append(job)
        return bool(self._waiting) and self._waiting[0].written is not None

    def _starts(self, job: _Job) -> bool:
        """False for a job that nobody waits for any more."""
        if job.cancelled or not job.future.set_running_or_notify_cancel():
            return False
        if self._closed:
            job.future.set_exception(BackendError(f"{self.name} is closed"))
        return not self._closed

    def _together(self, model: Answerer, job: _Job) -> None:
        """Write this answer together with those that wait, and with those that come while there is room."""
        lines = Together(model.cache)
        self._join(model, lines, job)
        while lines.lines:
            while self._written_next() and lines.has_room(self._waiting[0].need):
                other = self._waiting.popleft()
                if self._starts(other):
                    other.begin()
                    self._join(model, lines, other)
            lines.step()

    def _join(self, model: Answerer, lines: Together, job: _Job) -> None:
        """Begin one more answer. Whatever goes wrong with it, its own future is told."""
        assert job.written is not None
        request, prompt = job.written
        began = time.perf_counter()

        def finish(error: Exception | None) -> None:
            try:
                if error is not None:
                    raise error
                done = model.completion(request, prompt, writer)
                job.future.set_result(replace(done, seconds=time.perf_counter() - began))
            except Exception as failure:
                self._failed(job, failure)

        try:
            writer = model.writer(request)
            lines.add(Line(prompt, writer, self._flag(job), finish), model.pinned(request, prompt))
        except Exception as error:
            self._failed(job, error)

    def _failed(self, job: _Job, error: BaseException) -> None:
        job.future.set_exception(self._stopped(job) if isinstance(error, Cancelled) else error)

    def _answerer(self) -> Answerer:
        return Answerer(*self._load(), self.name, self._context, self._threads, self._prefixes, self._batch)

    def _flag(self, job: _Job) -> Callable[[], bool]:
        return lambda: job.cancelled or self._closed or job.late()

    def _stopped(self, job: _Job) -> BackendError:
        if job.late() and not job.cancelled and not self._closed:
            return CallTimeout(f"{self.name} did not answer within {job.timeout:g} s of its turn")
        return BackendError(f"{self.name}: the call was cancelled or the model closed")

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
