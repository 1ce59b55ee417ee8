"""Answers while they grow: reads the streams of three APIs, tells what is there so far, ends with the whole reply.

A stream counts only when its end was seen: one that breaks off is no answer, however whole it looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from agentfleet.backends.strict import ANSWER

PACE = 0.05
"""Seconds between two tellings, so that a fast model does not drown who watches."""

Watch = Callable[[Any], None]


@dataclass(slots=True)
class Growing:
    """An answer so far. `kind`: of the output. `wrapped`: the JSON on the wire is ``{"answer": …}``.

    `whole`: the end was seen. `usage`: as the server gives it. `last`: a whole response, where the API ends with one.
    """

    watch: Watch
    kind: str
    wrapped: bool
    text: str = ""
    refusal: str = ""
    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    last: Any = None
    _told: Any = None
    _at: float = 0.0

    def add(self, piece: Any) -> None:
        """More of the text."""
        if not isinstance(piece, str) or not piece:
            return
        self.text += piece
        now = time.monotonic()
        if now - self._at >= PACE:
            self._at = now
            value = self._so_far()
            if value is not None and value != self._told:
                self._told = value
                self.watch(value)

    def count(self, usage: Any) -> None:
        """Take up what is said of usage; later numbers replace earlier ones."""
        given = usage.model_dump(exclude_none=True) if hasattr(usage, "model_dump") else usage
        if isinstance(given, Mapping):
            self.usage.update(given)

    def _so_far(self) -> Any:
        """Text, or the JSON data that is there; None while there is none."""
        if self.kind == "text":
            return self.text
        try:
            value = from_json(self.text, allow_partial="trailing-strings")
        except ValueError:
            return None
        if self.wrapped:
            return value.get(ANSWER) if isinstance(value, dict) else None
        return value


async def read_chat(stream: Any, growing: Growing) -> None:
    """Chunks of OpenAI's chat completions."""
    async for chunk in stream:
        growing.count(getattr(chunk, "usage", None))
        for choice in (getattr(chunk, "choices", None) or [])[:1]:
            delta = getattr(choice, "delta", None)
            growing.add(getattr(delta, "content", None))
            growing.refusal += getattr(delta, "refusal", None) or ""
            growing.finish = getattr(choice, "finish_reason", None) or growing.finish
    growing.whole = bool(growing.finish)


async def read_responses(stream: Any, growing: Growing) -> None:
    """Events of OpenAI's Responses API; the last one holds the whole response."""
    async for event in stream:
        kind = getattr(event, "type", "")
        if kind == "response.output_text.delta":
            growing.add(event.delta)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            growing.last, growing.whole = event.response, True


async def read_messages(stream: Any, growing: Growing) -> None:
    """Events of Anthropic's messages: text, or the input of the tool."""
    async for event in stream:
        kind = getattr(event, "type", "")
        if kind == "message_start":
            growing.count(getattr(event.message, "usage", None))
        elif kind == "content_block_delta":
            growing.add(getattr(event.delta, "text", None) or getattr(event.delta, "partial_json", None))
        elif kind == "message_delta":
            growing.finish = getattr(event.delta, "stop_reason", None) or growing.finish
            growing.count(getattr(event, "usage", None))
        elif kind == "message_stop":
            growing.whole = bool(growing.finish)
