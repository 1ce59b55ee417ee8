"""``POST /v1/chat/completions``: a conversation becomes one request to the engine, its answer one body or a stream."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Literal, TypeAlias, cast

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from agentfleet.backends.backend import Completion, Request
from agentfleet.prompt import Block, Message, Prompt
from agentfleet.schema import Output
from agentfleet.serve.bodies import ChatBody, ObjectForm, SchemaForm, Turn
from agentfleet.serve.problems import Problem
from agentfleet.serve.served import Served, unless_gone

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Conversation(Prompt):
    """A prompt that is the client's own turns: those of the system that lead it, then a block for each that follows.

    So the engine keeps what the system says as it keeps a skill's instruction, and a longer talk goes on where it was.
    """

    system_turns: tuple[Message, ...] = ()

    def messages(self) -> list[Message]:
        return [*self.system_turns, *(Message(cast(Role, block.name), block.text) for block in self.blocks)]


def conversation(turns: list[Turn]) -> Conversation:
    """The prompt of a chat request."""
    found = [Message("system" if t.role == "developer" else t.role, t.text) for t in turns]
    leading = tuple(takewhile(lambda turn: turn.role == "system", found))
    blocks = tuple(Block(turn.role, turn.content) for turn in found[len(leading) :])
    return Conversation("", blocks, system_turns=leading)


async def chat(served: Served, http: HttpRequest, body: ChatBody) -> Response:
    """The answer to a chat request. Raises Problem, Gone."""
    params = {"seed": body.seed, "top_p": body.top_p}
    request = Request(
        conversation(body.messages),
        _output(body),
        max_tokens=body.limit or 0,
        temperature=body.temperature,
        params=params,
    )
    if body.stream:
        return await _Stream(served, request, body.stream_options.include_usage).response(http)
    done = await unless_gone(http, served.complete(request, "messages"))
    message = {"role": "assistant", "content": done.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": done.finish, "logprobs": None}
    return JSONResponse({**_head(served, "chat.completion"), "choices": [choice], "usage": _usage(done)})


def _output(body: ChatBody) -> Output:
    form = body.response_format
    if isinstance(form, SchemaForm):
        return Output("json", Any, form.json_schema.body)
    if isinstance(form, ObjectForm):
        return Output("json", Any, {"type": "object"})
    return Output("text", str, {"type": "string"})


def _head(served: Served, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": served.name}


def _usage(done: Completion) -> dict[str, Any]:
    given, written = done.usage.input_tokens, done.usage.output_tokens
    return {
        "prompt_tokens": given,
        "completion_tokens": written,
        "total_tokens": given + written,
        "prompt_tokens_details": {"cached_tokens": done.usage.cached_tokens},
    }


class _Stream:
    """One answer as server-sent events. The status is sent with the first token, so early problems have their own."""

    def __init__(self, served: Served, request: Request, with_usage: bool) -> None:
        self._served = served
        self._with_usage = with_usage
        self._head = _head(served, "chat.completion.chunk")
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._request = replace(request, listen=self._heard)

    def _heard(self, text: str) -> None:
        """All of the text so far; called on the engine's thread."""
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, text)

    async def response(self, http: HttpRequest) -> Response:
        """The response, once the first token is there. Raises Problem, Gone."""
        task = asyncio.ensure_future(self._served.complete(self._request, "messages"))
        task.add_done_callback(lambda _: self._pieces.put_nowait(None))
        try:
            first = await unless_gone(http, self._pieces.get())
            if first is None:
                task.result()
        except BaseException:
            task.cancel()
            raise
        return _Sent(task, self._events(task, first))

    async def _events(self, task: asyncio.Task[Completion], text: str | None) -> AsyncIterator[str]:
        yield self._chunk({"role": "assistant", "content": ""})
        sent = ""
        while text is not None:
            if len(text) > len(sent):
                yield self._chunk({"content": text[len(sent) :]})
                sent = text
            text = await self._pieces.get()
        try:
            done = await task
        except Problem as problem:  # too late for a status
            yield _event(problem.body())
            return
        if len(done.text) > len(sent):
            yield self._chunk({"content": done.text[len(sent) :]})
        for event in self._end(done):
            yield event

    def _end(self, done: Completion) -> list[str]:
        events = [self._chunk({}, done.finish)]
        if self._with_usage:
            events.append(_event({**self._head, "choices": [], "usage": _usage(done)}))
        return [*events, "data: [DONE]\n\n"]

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**self._head, "choices": [choice]})


class _Sent(StreamingResponse):
    """A stream whose call ends with it, also when the client leaves in the middle."""

    def __init__(self, task: asyncio.Task[Completion], events: AsyncIterator[str]) -> None:
        super().__init__(events, headers={"cache-control": "no-store"}, media_type="text/event-stream")
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._task.cancel()


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
