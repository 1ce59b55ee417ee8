"""A server on loopback that speaks the OpenAI and Anthropic protocols as a test scripts it, one reply a request.

Real sockets, real HTTP: what the SDKs send is recorded, what they must survive is sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import uvicorn
from servers import sse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Finish = Literal["stop", "length", "refusal"]
USAGE = {"input": 11, "output": 7, "cached": 3, "reasoning": 2}


@dataclass(frozen=True)
class Reply:
    """One scripted reply. `usage` None leaves it out; a value that is no mapping is sent as it stands.

    `wrap`: put JSON into ``{"answer": …}`` where the request's schema asks for that. `cut`: bytes of the body after
    which the connection breaks, negative from its end. `drip`: seconds between two bytes. `swell`: bytes to which the
    text grows; `told`: the length stands in the header. `held`: waits until the server's `release` is set.
    """

    text: str = ""
    finish: Finish = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Any = field(default_factory=lambda: dict(USAGE))
    body: str | None = None
    delay: float = 0.0
    hang: bool = False
    held: bool = False
    wrap: bool = True
    code: str = ""
    cut: int | None = None
    drip: float = 0.0
    swell: int = 0
    told: bool = True


def good(text: str, **kwargs: Any) -> Reply:
    """An answer of the model; `text` is JSON or plain text."""
    return Reply(text, **kwargs)


def truncated(text: str) -> Reply:
    """An answer that ran into its token limit."""
    return Reply(text, finish="length", wrap=False)


def refusal(text: str = "I cannot help with that.") -> Reply:
    """The model declines."""
    return Reply(text, finish="refusal")


def error(status: int, message: str = "scripted error", retry_after: str | None = None, code: str = "") -> Reply:
    """An error in the provider's own shape."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Reply(message, status=status, headers=headers, code=code)


def redirect(target: str) -> Reply:
    """A redirect that keeps method and body."""
    return Reply(status=307, headers={"location": target}, body="")


def malformed() -> Reply:
    """Status 200, a JSON content type, and a body that is no JSON."""
    return Reply(body='{"id": "x", "choices": [')


def page() -> Reply:
    """Status 200 with a web page, as a wrong base_url or a proxy gives it."""
    return Reply(body="<html>hello</html>", headers={"content-type": "text/html"})


def hang() -> Reply:
    """Never answers; ends when the client goes away."""
    return Reply(hang=True)


def slow(seconds: float, text: str) -> Reply:
    """Answers after a while."""
    return Reply(text, delay=seconds)


def cut(text: str, after: int) -> Reply:
    """A good answer whose connection breaks after so many bytes of its body."""
    return Reply(text, cut=after)


def drip(text: str, seconds: float) -> Reply:
    """A good answer, a byte at a time."""
    return Reply(text, drip=seconds)


def huge(size: int, *, told: bool = True) -> Reply:
    """A well-formed answer of `size` bytes. `told`: the header says so beforehand."""
    return Reply("@@", swell=size, told=told, wrap=False)


def twice(text: str) -> Reply:
    """A body in which every key of the envelope stands twice; what the provider's SDK would keep is `text`."""
    return Reply(text, code="twice")


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def schema(self) -> dict[str, Any] | None:
        """The schema that the request holds the model to, wherever its protocol puts it."""
        return _schema(self.body)


class ProtocolServer:
    """``with ProtocolServer(good("…"), error(429)) as server:`` serves the replies in order.

    When the script is used up, the last reply is given again. `seen`: the requests; `gone`: how many clients
    closed the connection while a reply hung or dripped; `sent`: bytes of bodies that were sent piece by piece.
    """

    def __init__(self, *replies: Reply) -> None:
        self.replies: list[Reply] = list(replies)
        self.seen: list[Seen] = []
        self.gone = 0
        self.sent = 0
        self.left = threading.Event()
        self.arrived = threading.Event()
        self.release = threading.Event()
        # With its protocol named, asyncio sends small packets at once; else each answer waits 40 ms for an ACK.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        paths = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
        app = Starlette(routes=[Route(path, self._answer, methods=["POST"]) for path in paths])
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``: the base_url for anthropic."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``: the base_url for openai."""
        return f"{self.origin}/v1"

    def script(self, *replies: Reply) -> None:
        """Replace what is left of the script."""
        self.replies = list(replies)

    def next(self) -> Reply:
        """The reply to the request that has just come; a server with a mind of its own overrides this."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def __enter__(self) -> ProtocolServer:
        self._socket.listen(64)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _answer(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.seen.append(Seen(request.url.path, dict(request.headers), body))
        self.arrived.set()
        reply = self.next()
        if reply.hang:
            return await self._hang(request)
        while reply.held and not (self.release.is_set() or self._server.should_exit):
            await asyncio.sleep(0.005)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        whole = _response(reply, request.url.path, body)
        return self._in_pieces(reply, whole, request) if reply.cut is not None or reply.drip or reply.swell else whole

    def _in_pieces(self, reply: Reply, whole: Response, request: Request) -> Response:
        body = bytes(whole.body)
        length = max(reply.swell, len(body)) if reply.told else None
        headers = {"content-type": whole.headers["content-type"]} | (
            {} if length is None else {"content-length": str(length)}
        )
        return StreamingResponse(self._pieces(reply, body, request), whole.status_code, headers)

    async def _pieces(self, reply: Reply, body: bytes, request: Request) -> AsyncIterator[bytes]:
        ended = False
        try:
            async for piece in _split(reply, body):
                yield piece
                self.sent += len(piece)
                if self._server.should_exit or await request.is_disconnected():
                    return
            ended = True
        finally:
            if not ended:
                self.gone += 1
                self.left.set()

    async def _hang(self, request: Request) -> Response:
        while not await request.is_disconnected():
            if self._server.should_exit:
                return Response(status_code=503)
            await asyncio.sleep(0.01)
        self.gone += 1
        self.left.set()
        return Response(status_code=503)


async def _split(reply: Reply, body: bytes) -> AsyncIterator[bytes]:
    if reply.swell:
        before, after = body.split(b"@@")
        left = reply.swell - len(before) - len(after)
        yield before
        while left > 0:
            yield b"a" * min(left, 65536)
            left -= 65536
        yield after
        return
    for place in range(len(body) if reply.drip else 0):
        yield body[place : place + 1]
        await asyncio.sleep(reply.drip)
    if reply.cut is not None:
        yield body[: reply.cut]
        raise ConnectionResetError  # uvicorn then closes the connection: less came than the header said


def _response(reply: Reply, path: str, body: Mapping[str, Any]) -> Response:
    if reply.body is not None:
        headers = {"content-type": "application/json", **reply.headers}
        return Response(reply.body, status_code=reply.status, headers=headers)
    if reply.status >= 400:
        return JSONResponse(_error(reply, path), status_code=reply.status, headers=dict(reply.headers))
    render = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/messages": _messages}[path]
    spoken = _spoken(reply, body)
    answer = render(reply, spoken, body)
    if body.get("stream"):
        return Response(sse.stream(path, answer, spoken), headers=dict(reply.headers), media_type="text/event-stream")
    text = json.dumps(answer)  # NaN and infinity as they are: bad servers write them
    if reply.code == "twice":
        text = f"{text[:-1]},{text[1:]}"
    return Response(text, headers=dict(reply.headers), media_type="application/json")


def _spoken(reply: Reply, body: Mapping[str, Any]) -> str:
    schema = _schema(body)
    wants_wrapper = schema is not None and list(schema.get("properties", {})) == ["answer"]
    if not (reply.wrap and wants_wrapper and reply.finish == "stop"):
        return reply.text
    try:
        value = json.loads(reply.text)
    except ValueError:
        return reply.text
    already = isinstance(value, dict) and list(value) == ["answer"]
    return reply.text if already else f'{{"answer":{reply.text}}}'


def _schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    formats = (body.get("response_format"), (body.get("output_config") or {}).get("format"))
    for given in (*formats, (body.get("text") or {}).get("format")):
        if isinstance(given, dict) and given.get("type") == "json_schema":
            found: dict[str, Any] = given["json_schema"]["schema"] if "json_schema" in given else given["schema"]
            return found
    for tool in body.get("tools") or []:
        function = tool.get("function", tool)
        found = function.get("parameters") or function.get("input_schema")
        return found
    return None


def _error(reply: Reply, path: str) -> dict[str, Any]:
    kind = reply.code or {429: "rate_limit_error", 529: "overloaded_error"}.get(reply.status, "api_error")
    if path == "/v1/messages":
        return {"type": "error", "error": {"type": kind, "message": reply.text}, "request_id": "req_1"}
    return {"error": {"message": reply.text, "type": kind, "param": None, "code": reply.code or None}}


def _chat(reply: Reply, text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    reason = {"stop": "stop", "length": "length", "refusal": "stop"}[reply.finish]
    if reply.finish == "refusal":
        message |= {"content": None, "refusal": text}
    elif body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": text}}
        message |= {"content": None, "tool_calls": [call]}
        reason = "tool_calls" if reason == "stop" else reason
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
    }
    return answer | _usage(reply.usage, _chat_usage)


def _responses(reply: Reply, text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    kind = "refusal" if reply.finish == "refusal" else "output_text"
    part = {"type": kind, "refusal": text} if kind == "refusal" else {"type": kind, "text": text, "annotations": []}
    item: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    cut = reply.finish == "length"
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "instructions": None,
        "metadata": {},
        "output": [{**item, "content": [part]}],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
    }
    return answer | _usage(reply.usage, _responses_usage)


def _messages(reply: Reply, text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    blocks: Sequence[dict[str, Any]] = [{"type": "text", "text": text}]
    reason = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}[reply.finish]
    if body.get("tools") and reply.finish == "stop":
        try:
            given = json.loads(text)
        except ValueError:
            given = {"unreadable": text}
        blocks = [{"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": given}]
        reason = "tool_use"
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
    }
    return answer | _usage(reply.usage, _messages_usage)


def _usage(usage: Any, shape: Any) -> dict[str, Any]:
    if usage is None:
        return {}
    return {"usage": shape(usage) if isinstance(usage, Mapping) else usage}


def _chat_usage(u: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_tokens": u["input"],
        "completion_tokens": u["output"],
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": u["cached"]},
        "completion_tokens_details": {"reasoning_tokens": u["reasoning"]},
    }


def _responses_usage(u: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": u["input"],
        "output_tokens": u["output"],
        "total_tokens": 0,
        "input_tokens_details": {"cached_tokens": u["cached"]},
        "output_tokens_details": {"reasoning_tokens": u["reasoning"]},
    }


def _messages_usage(u: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": u["input"],
        "output_tokens": u["output"],
        "cache_read_input_tokens": u["cached"],
        "cache_creation_input_tokens": 0,
        "output_tokens_details": {"thinking_tokens": u["reasoning"]},
    }
