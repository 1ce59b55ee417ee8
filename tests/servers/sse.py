"""A whole answer of a provider as the stream of events in which that provider would send it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

PIECE = 5
"""Characters of text in one event."""


def stream(path: str, answer: Mapping[str, Any], raw: str) -> str:
    """The body of the stream. `raw`: the text of the model, for where the answer holds it parsed."""
    make = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/messages": _messages}[path]
    return "".join(make(answer, raw))


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def _chat(answer: Mapping[str, Any], raw: str) -> Iterator[str]:
    choice = answer["choices"][0]
    head = {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": answer["model"]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    part = "refusal" if choice["message"].get("refusal") else "content"
    for piece in _pieces(raw):
        yield chunk({part: piece})
    yield chunk({}, choice["finish_reason"])
    if "usage" in answer:
        yield _data({**head, "choices": [], "usage": answer["usage"]})
    yield "data: [DONE]\n\n"


def _responses(answer: Mapping[str, Any], raw: str) -> Iterator[str]:
    part = answer["output"][0]["content"][0]
    kind = "response.refusal.delta" if part["type"] == "refusal" else "response.output_text.delta"
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": 1}
    for piece in _pieces(raw):
        yield _event(kind, {"delta": piece, "logprobs": [], **place})
    yield _event(f"response.{answer['status']}", {"response": answer, "sequence_number": 2})


def _messages(answer: Mapping[str, Any], raw: str) -> Iterator[str]:
    usage = answer.get("usage", {"input_tokens": 0, "output_tokens": 0})
    begun = {**answer, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _event("message_start", {"message": begun})
    block = answer["content"][0]
    tool = block["type"] == "tool_use"
    empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
    yield _event("content_block_start", {"index": 0, "content_block": empty})
    yield _event("ping", {})
    for piece in _pieces(raw):
        delta = {"type": "input_json_delta", "partial_json": piece} if tool else {"type": "text_delta", "text": piece}
        yield _event("content_block_delta", {"index": 0, "delta": delta})
    yield _event("content_block_stop", {"index": 0})
    ended = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", {"delta": ended, "usage": {"output_tokens": usage["output_tokens"]}})
    yield _event("message_stop", {})


def _event(kind: str, data: Mapping[str, Any]) -> str:
    return f"event: {kind}\n{_data({'type': kind, **data})}"


def _data(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
