"""A scripted model for users' tests: graphs run for real, only the models' answers are written down beforehand.

with scripted({"intent": ["refund"], "order": {"order_id": "AB-123456", "amount": 5}}):
    assert support_desk(email="…").refunded == 5
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.estimate import estimate_tokens
from agentfleet.errors import BackendError, UsageError, nearest
from agentfleet.fleet.hosts import Location
from agentfleet.fleet.model import Fleet, Model
from agentfleet.ledger.open import open_ledger
from agentfleet.runtime.runner import use_session
from agentfleet.runtime.session import Session

Script = Mapping[str, Any]


@dataclass
class Scripted:
    """The backend behind `scripted`: answers by node path or step name, lists in call order.

    `calls`: every request it answered, as (node path, request). `limit`: its context in tokens, estimated from the
    length of the prompt; None: no prompt is too long.
    """

    script: Script
    limit: int | None = None
    calls: list[tuple[str, Request]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)

    @property
    def context(self) -> int | None:
        return self.limit

    def count(self, request: Request) -> int | None:
        return 0 if self.limit is None else estimate_tokens(request.prompt.text())

    async def complete(self, request: Request) -> Completion:
        path = str(request.params.get("path", request.skill))
        self.calls.append((path, request))
        answer = self._next(self._key(path, request.skill), path)
        if isinstance(answer, BaseException):
            raise answer if isinstance(answer, BackendError) else BackendError(str(answer))
        if isinstance(answer, Completion):
            return answer
        return Completion(_text(answer, request), "scripted", usage=Usage(1, 1))

    async def close(self) -> None:
        return None

    def _key(self, path: str, skill: str) -> str:
        for key in (path, skill):
            if key in self.script:
                return key
        raise UsageError(f"scripted: no answer for {path} (step {skill!r}){nearest(skill, self.script)}")

    def _next(self, key: str, path: str) -> Any:
        value = self.script[key]
        if not isinstance(value, list):
            return value
        number = self.used.get(key, 0)
        if number >= len(value):
            raise UsageError(f"scripted: the {len(value)} answers for {key!r} are used up at {path}; add one more")
        self.used[key] = number + 1
        return value[number]


def _text(answer: Any, request: Request) -> str:
    """A str is raw model text; anything else is written as the model would write it."""
    if isinstance(answer, str):
        return answer
    if request.output.parser is not None and isinstance(answer, (dict, Sequence)):
        return json.dumps(answer)
    if isinstance(answer, (dict, list)):
        return json.dumps(answer, default=lambda o: o.model_dump(mode="json"))
    return request.output.dump(answer)


@contextmanager
def scripted(
    script: Script,
    *,
    location: Location = "device",
    ledger: str | Path = ":memory:",
    context: int | None = None,
) -> Iterator[Scripted]:
    """Within it every tier but *person* is one scripted model at `location`; runs go to a ledger in memory.

    Keys of `script`: node paths or step names. Values: an answer for every call, or a list in call order; a value of
    the step's type, a dict, a str (raw model text), an exception (that failure). `context`: tokens of prompt and answer
    that the model bears. Yields the backend: `.calls`.
    """
    tiers = ("nano", "small", "large", "frontier")
    models = [Model(name=f"scripted-{tier}", backend="scripted", tier=tier, location=location) for tier in tiers]
    backend = Scripted(script, context)
    session = Session(
        fleet=Fleet(models),
        ledger=open_ledger(ledger, Path.cwd()),
        backends={model.name: backend for model in models},
    )
    before = use_session(session)
    try:
        yield backend
    except BaseException:
        session.stop()  # what failed in the test is to be seen, not that runs were still going on when it did
        with suppress(Exception):
            session.close()
        raise
    else:
        session.close()
    finally:
        use_session(before)
