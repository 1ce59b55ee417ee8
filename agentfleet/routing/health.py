"""The load of endpoints that tell it: ``agentfleet serve-model`` says in /health how many calls run and wait there.

It is asked in the background, at most once a second and only while somebody chooses. No call waits for it or fails by it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agentfleet.backends.bounded import http_client
from agentfleet.fleet.model import Model

EVERY: Final = 1.0
"""Seconds between two questions to one endpoint, at least."""

WAIT = 2.0
"""Seconds for one answer: a machine that decodes on all its cores may be slow to say so."""

STALE: Final = 5.0
"""Seconds after which an answer says nothing any more."""

MOST_BYTES: Final = 10_000
MOST_CALLS: Final = 1_000_000
"""A count beyond this is none."""

_SERVED: Final = frozenset({"openai", "decisions"})
"""The backends whose protocols serve-model speaks."""

Running = Callable[[str], int]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Load:
    """What an endpoint said `at` some moment. `ours`: model → calls of this process that ran there meanwhile."""

    running: int
    queue: int
    ours: Mapping[str, int]
    at: float

    def elsewhere(self, model: str) -> int:
        """Calls there that are not this model's of this process."""
        return max(0, self.running + self.queue - self.ours.get(model, 0))

    @property
    def places(self) -> int | None:
        """Calls that it serves at once; None while nobody waits there, for then it may serve more."""
        return max(1, self.running) if self.queue else None


@dataclass(slots=True, eq=False)
class _Endpoint:
    """`tells`: did it answer as serve-model does? None: it was never reached. False: it is not asked again."""

    root: str
    models: set[str] = field(default_factory=set)
    tells: bool | None = None
    load: Load | None = None
    asked: float | None = None
    task: asyncio.Task[None] | None = None
    client: Any = None


class Loads:
    """One per dispatcher, used from its event loop alone. `running`: calls of a model that this process has there."""

    def __init__(self, running: Running, clock: Clock = time.monotonic) -> None:
        self._running = running
        self._clock = clock
        self._endpoints: dict[str, _Endpoint] = {}
        self._of_model: dict[str, _Endpoint | None] = {}

    def of(self, model: Model) -> Load | None:
        """The load where the model is served; None: not told lately."""
        found = self._of_model.get(model.name)
        load = None if found is None else found.load
        return load if load is not None and self._clock() - load.at <= STALE else None

    def refresh(self, models: Iterable[Model]) -> None:
        """Somebody chooses among these: ask those endpoints that may tell and were not asked within the last second."""
        now = self._clock()
        for model in models:
            found = self._endpoint(model)
            if found is None or found.tells is False or found.task is not None:
                continue
            if found.asked is None or now - found.asked >= EVERY:
                found.asked = now
                found.task = asyncio.get_running_loop().create_task(self._ask(found))

    async def settle(self) -> None:
        """Wait until every question that is under way is answered or given up."""
        await asyncio.gather(*(one.task for one in self._endpoints.values() if one.task), return_exceptions=True)

    async def close(self) -> None:
        """Give up what is under way, close all connections."""
        for found in self._endpoints.values():
            if found.task is not None:
                found.task.cancel()
        await self.settle()
        for found in self._endpoints.values():
            await _hang_up(found)

    def _endpoint(self, model: Model) -> _Endpoint | None:
        if model.name not in self._of_model:
            found = None
            if model.backend in _SERVED and model.base_url:
                root = model.base_url.rstrip("/").removesuffix("/v1")
                found = self._endpoints.setdefault(root, _Endpoint(root))
                found.models.add(model.name)
            self._of_model[model.name] = found
        return self._of_model[model.name]

    async def _ask(self, found: _Endpoint) -> None:
        before, counts = self._ours(found), None
        try:
            counts = await _told(found)
            found.tells = found.tells or counts is not None
        except ConnectionError:
            pass  # nobody is there yet, so nobody was asked
        except Exception:  # whatever a server or its network does, no run may hear of it
            found.tells = found.tells or False
        finally:
            found.task = None
        found.load = None if counts is None else self._load(found, before, *counts)
        if found.tells is False:
            await _hang_up(found)

    def _load(self, found: _Endpoint, before: Mapping[str, int], running: int, queue: int) -> Load:
        """A call of ours that began or ended meanwhile may be in the figures: it is not taken for another's."""
        ours = {name: max(before.get(name, 0), number) for name, number in self._ours(found).items()}
        return Load(running, queue, ours, self._clock())

    def _ours(self, found: _Endpoint) -> dict[str, int]:
        return {name: self._running(name) for name in found.models}


async def _told(found: _Endpoint) -> tuple[int, int] | None:
    """What the endpoint says. Raises ConnectionError where nobody listens, else whatever goes wrong."""
    if found.client is None:  # in a thread: the library and its certificates take a while to load
        found.client = await asyncio.to_thread(http_client, found.root, MOST_BYTES)
    import httpx2

    try:
        async with asyncio.timeout(WAIT):
            response = await found.client.get(f"{found.root}/health", timeout=None)
    except httpx2.ConnectError as error:
        raise ConnectionError from error
    return _counts(json.loads(response.content)) if response.status_code == 200 else None


def _counts(data: Any) -> tuple[int, int] | None:
    """(running, queue) of an answer in serve-model's shape; None for any other: llama-server has a /health too."""
    if not isinstance(data, dict) or "ms_per_output_token" not in data:
        return None
    running, queue = _count(data.get("running")), _count(data.get("queue"))
    return None if running is None or queue is None else (running, queue)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_CALLS else None


async def _hang_up(found: _Endpoint) -> None:
    client, found.client = found.client, None
    if client is not None:
        await client.aclose()
