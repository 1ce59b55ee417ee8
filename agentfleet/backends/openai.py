"""OpenAI and every server that speaks its chat completions: vLLM, llama-server, Ollama, LM Studio and others.

Through `instructor`; what instructor leaves out on the wire (`strict`) is put there by this file. The Responses API is
called through the SDK itself: instructor has only tools for it, and a strict schema is the better constraint.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from agentfleet.backends.backend import Request, Usage
from agentfleet.backends.instructed import (
    STRATEGIES,
    Call,
    Instructed,
    Reply,
    headers,
    settings,
    shown_schema,
    tokens,
    turns,
)
from agentfleet.backends.streamed import Growing, read_chat, read_responses
from agentfleet.backends.strict import ANSWER, WireSchema

RESPONSES = "responses"
_MODES = {"native": "JSON_SCHEMA", "tools": "TOOLS", "json": "JSON", "plain": "MD_JSON"}
_REASONING = re.compile(r"(o\d|gpt-5)")
"""Models that accept only their own temperature."""

_KNOWN = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "service_tier",
        "stop",
        "store",
        "temperature",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)


class OpenAI(Instructed):
    """A model behind an OpenAI-compatible endpoint. `strategy` defaults to native structured output.

    "responses" is that too, over the Responses API; nothing is stored there unless the rung's params say so.
    """

    sdk: ClassVar[str] = "openai"
    strategies: ClassVar[tuple[str, ...]] = (*STRATEGIES, RESPONSES)
    grows: ClassVar[tuple[str, ...]] = ("native", RESPONSES)
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    default_strategy: ClassVar[str] = "native"

    def _open(self, http: Any) -> Any:
        import openai

        client = openai.AsyncOpenAI(
            api_key=self._key, admin_api_key="", base_url=self.base_url, max_retries=0, http_client=http
        )
        if not self.hosted:
            # What the environment says about the user's OpenAI account is no business of another server.
            client.organization = client.project = None
            client._custom_headers = {}
        return client

    def _instructor(self, client: Any, mode: Any) -> Any:
        import instructor

        return instructor.from_openai(client, mode=mode)

    @property
    def picky(self) -> bool:
        """OpenAI itself, and Azure, which serves the same models under names of its customers."""
        return self.hosted or (urlsplit(self.base_url).hostname or "").endswith(".azure.com")

    def _call(self, request: Request) -> Call:
        if self.strategy == RESPONSES:
            return self._response_call(request)
        arguments, body = settings(request, _KNOWN)
        limit = "max_completion_tokens" if self.picky else "max_tokens"
        if not {"max_tokens", "max_completion_tokens"} & request.params.keys():
            arguments[limit] = request.max_tokens
        if self._takes_temperature(request):
            arguments["temperature"] = request.temperature
        arguments.update(model=self.model, messages=turns(request), extra_headers=headers(request))
        if request.output.kind == "text":
            return Call("JSON", arguments, None, body)
        answer = self._answer(request.output)
        body.update(self._shape(answer.wire, arguments["messages"]))
        return Call(_MODES[self.strategy], arguments, answer, body)

    def _takes_temperature(self, request: Request) -> bool:
        return "temperature" not in request.params and not (self.picky and _REASONING.match(self.model))

    def _response_call(self, request: Request) -> Call:
        """All of it goes into the body as it stands: the SDK adds nothing."""
        given, body = settings(request, frozenset())
        body = {"max_output_tokens": request.max_tokens, "store": False, **given, **body}
        if self._takes_temperature(request):
            body["temperature"] = request.temperature
        if request.output.kind != "text":
            wire = self._answer(request.output).wire
            form = {"type": "json_schema", "name": ANSWER, "strict": wire.strict, "schema": wire.schema}
            body["text"] = {**body.get("text", {}), "format": form}
        body.update(model=self.model, input=turns(request))
        return Call(RESPONSES, {"extra_headers": headers(request)}, None, body)

    async def _transmit(self, client: Any, call: Call, limit: float, heard: list[Any]) -> Any:
        if call.mode != RESPONSES:
            return await super()._transmit(client, call, limit, heard)
        return await client.responses.create(timeout=limit, extra_body=call.body, **call.arguments)

    async def _stream(self, client: Any, call: Call, growing: Growing, limit: float) -> Reply | None:
        if call.mode == RESPONSES:
            body = {**call.body, "stream": True}
            stream = await client.responses.create(stream=True, timeout=limit, extra_body=body, **call.arguments)
            await read_responses(stream, growing)
            if not growing.whole:
                raise self._broken_off()
            return _read_response(growing.last)
        body = {"stream_options": {"include_usage": True}, **call.body}
        stream = await client.chat.completions.create(stream=True, timeout=limit, extra_body=body, **call.arguments)
        await read_chat(stream, growing)
        if not growing.whole:
            raise self._broken_off()
        finish = "refusal" if growing.refusal else _finish(growing.finish)
        return Reply(growing.refusal or growing.text, finish, _usage(growing.usage))

    def _shape(self, wire: WireSchema, messages: list[dict[str, str]]) -> dict[str, Any]:
        """What makes the model keep to the schema; sent as it stands here."""
        if self.strategy == "native":
            named = {"name": ANSWER, "strict": wire.strict, "schema": wire.schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        if self.strategy == "tools":
            tool = {"name": ANSWER, "description": "Give the answer.", "strict": wire.strict, "parameters": wire.schema}
            return {"tools": [{"type": "function", "function": tool}]}
        first = {"role": "system", "content": f"{messages[0]['content']}\n{shown_schema(wire)}"}
        return {"messages": [first, *messages[1:]]}

    def _read(self, response: Any) -> Reply | None:
        if self.strategy == RESPONSES:
            return _read_response(response)
        choices = getattr(response, "choices", None)
        if not isinstance(choices, list) or not choices or getattr(choices[0], "message", None) is None:
            return None
        message = choices[0].message
        refusal = getattr(message, "refusal", None)
        text = refusal if isinstance(refusal, str) and refusal else _text(message)
        finish = "refusal" if refusal else _finish(getattr(choices[0], "finish_reason", None))
        return Reply(text, finish, _usage(getattr(response, "usage", None)))


def _read_response(response: Any) -> Reply | None:
    items, status = getattr(response, "output", None), getattr(response, "status", None)
    if not isinstance(items, list) or status not in ("completed", "incomplete"):
        return None
    parts = [part for item in items for part in getattr(item, "content", None) or []]
    refusals = [text for part in parts if isinstance(text := getattr(part, "refusal", None), str)]
    texts = [text for part in parts if isinstance(text := getattr(part, "text", None), str)]
    usage = _usage(getattr(response, "usage", None), "input_tokens", "output_tokens")
    if refusals:
        return Reply("".join(refusals), "refusal", usage)
    reason = getattr(getattr(response, "incomplete_details", None), "reason", None)
    finish = _finish("length" if status == "incomplete" and reason != "content_filter" else reason)
    return Reply("".join(texts), finish, usage)


def _text(message: Any) -> str:
    for called in getattr(message, "tool_calls", None) or []:
        arguments = getattr(getattr(called, "function", None), "arguments", None)
        if isinstance(arguments, str):
            return arguments
    content = getattr(message, "content", None)
    return content if isinstance(content, str) else ""


def _finish(reason: Any) -> Literal["stop", "length", "refusal"]:
    if reason == "content_filter":
        return "refusal"
    return "length" if reason == "length" else "stop"


def _usage(usage: Any, read: str = "prompt_tokens", wrote: str = "completion_tokens") -> Usage:
    given, written = tokens(usage, read), tokens(usage, wrote)
    return Usage(
        input_tokens=given,
        output_tokens=written,
        cached_tokens=min(given, tokens(usage, f"{read}_details", "cached_tokens")),
        reasoning_tokens=min(written, tokens(usage, f"{wrote}_details", "reasoning_tokens")),
    )
