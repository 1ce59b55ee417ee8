"""Recorded completions instead of a model: for tests, evals without cost, and looking at a run again.

Either by the fingerprint of the request, or in the order of the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import BackendError, FleetError
from agentfleet.ids import fingerprint

Recorded: TypeAlias = Completion | BackendError
"""What a call gave: a completion, or the failure to raise again."""


def request_key(request: Request) -> str:
    """Fingerprint of everything in a request that a model's answer depends on (not timeout or idempotency key)."""
    turns = [(turn.role, turn.content) for turn in request.prompt.messages()]
    shape = (request.output.kind, request.output.schema)
    return fingerprint(turns, shape, request.max_tokens, request.temperature, dict(request.params))


class Replay:
    """A backend that gives what was recorded.

    `completions`: a mapping from `request_key` to what to give (always the same), or a sequence used up in order.
    A request that was not recorded, or one too many, is a BackendError.
    """

    def __init__(self, completions: Mapping[str, Recorded] | Sequence[Recorded]) -> None:
        self._by_key = dict(completions) if isinstance(completions, Mapping) else None
        self._queue = [] if isinstance(completions, Mapping) else list(completions)
        self.requests: list[Request] = []

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """From JSON lines as `record` makes them; a later line replaces an earlier one of the same request."""
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return cls(dict(_row(line, number, path) for number, line in enumerate(lines, 1) if line.strip()))

    @property
    def context(self) -> int | None:
        """Nothing is tokenized here, so nothing is too long."""
        return None

    def count(self, request: Request) -> int | None:
        """None: there is no tokenizer."""
        return None

    async def complete(self, request: Request) -> Completion:
        """The recorded completion; raises the recorded failure, or BackendError when there is no recording."""
        self.requests.append(request)
        found = self._next(request)
        if isinstance(found, BackendError):
            raise found
        return found

    async def close(self) -> None:
        """Nothing to close."""

    def _next(self, request: Request) -> Recorded:
        if self._by_key is None:
            if not self._queue:
                raise BackendError(f"replay: all recordings are used up at call {len(self.requests)}")
            return self._queue.pop(0)
        key = request_key(request)
        if key not in self._by_key:
            raise BackendError(f"replay: nothing recorded for this request of {request.skill or 'a skill'!r} ({key})")
        return self._by_key[key]


def record(request: Request, completion: Completion) -> str:
    """One JSON line of a recording."""
    return json.dumps({"key": request_key(request), "completion": asdict(completion)}, default=dict)


def _row(line: str, number: int, path: str | Path) -> tuple[str, Completion]:
    try:
        row = json.loads(line)
        fields: dict[str, Any] = row["completion"]
        return row["key"], Completion(**{**fields, "usage": Usage(**fields["usage"])})
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{path}, line {number}: not a recorded completion ({error})") from None
