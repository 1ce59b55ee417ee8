"""Anthropic's messages API, through `instructor`: a strict tool by default, or native structured output.

instructor's own schema mode for Anthropic only writes the schema into the prompt; this file sends it as a constraint.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from agentfleet.backends.backend import Request, Usage
from agentfleet.backends.instructed import (
    Call,
    Instructed,
    Reply,
    headers,
    settings,
    shown_schema,
    tokens,
    turns,
)
from agentfleet.backends.streamed import Growing, read_messages
from agentfleet.backends.strict import ANSWER, WireSchema

_KNOWN = frozenset({"max_tokens", "metadata", "output_config", "service_tier", "stop_sequences", "thinking"})
_FORCED = {"type": "tool", "name": ANSWER}


class Anthropic(Instructed):
    """A Claude model. `strategy` defaults to a forced strict tool; native is `output_config` with a JSON Schema.

    No temperature is sent unless the fleet file's params name one: current models take none.
    """

    sdk: ClassVar[str] = "anthropic"
    grows: ClassVar[tuple[str, ...]] = ("native", "tools")
    default_url: ClassVar[str] = "https://api.anthropic.com"
    default_strategy: ClassVar[str] = "tools"

    def _open(self, http: Any) -> Any:
        import anthropic

        url = self.base_url.removesuffix("/v1")
        client = anthropic.AsyncAnthropic(api_key=self._key, base_url=url, max_retries=0, http_client=http)
        if not self.hosted:
            # Headers that the environment adds are meant for the user's own account.
            client._custom_headers = {}
        return client

    def _instructor(self, client: Any, mode: Any) -> Any:
        import instructor

        return instructor.from_anthropic(client, mode=mode)

    def _call(self, request: Request) -> Call:
        arguments, body = settings(request, _KNOWN)
        messages = turns(request)
        arguments.setdefault("max_tokens", request.max_tokens)
        arguments.update(model=self.model, messages=messages, extra_headers=headers(request))
        body["system"] = messages[0]["content"]
        if request.output.kind == "text":
            return Call("JSON", arguments, None, body)
        answer = self._answer(request.output)
        body.update(self._shape(answer.wire, messages[0]["content"], arguments))
        mode = "TOOLS" if self.strategy == "tools" else "JSON"
        return Call(mode, arguments, answer, body)

    def _wire(self, request_output: Any) -> WireSchema:
        import anthropic

        wire = super()._wire(request_output)
        # The SDK knows which keywords this API takes; it moves the others into descriptions.
        return WireSchema(anthropic.transform_schema(wire.schema), True) if wire.strict else wire

    def _shape(self, wire: WireSchema, system: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What makes the model keep to the schema; sent as it stands here."""
        if self.strategy == "native" and wire.strict:
            given = arguments.pop("output_config", {})
            return {"output_config": {**given, "format": {"type": "json_schema", "schema": wire.schema}}}
        if self.strategy == "tools":
            tool: dict[str, Any] = {"name": ANSWER, "description": "Give the answer.", "input_schema": wire.schema}
            return {"tools": [{**tool, "strict": True} if wire.strict else tool]}
        return {"system": f"{system}\n{shown_schema(wire)}"}

    async def _stream(self, client: Any, call: Call, growing: Growing, limit: float) -> Reply | None:
        # What instructor does where it makes the call: the system prompt is no message here, and the tool is forced.
        body = {**call.body, **({"tool_choice": _FORCED} if "tools" in call.body else {})}
        given = {**call.arguments, "messages": call.arguments["messages"][1:]}
        stream = await client.messages.create(stream=True, timeout=limit, extra_body=body, **given)
        await read_messages(stream, growing)
        if not growing.whole:
            raise self._broken_off()
        return Reply(growing.text, _finish(growing.finish), _usage(growing.usage))

    def _read(self, response: Any) -> Reply | None:
        content = getattr(response, "content", None)
        if not isinstance(content, list):
            return None
        finish = _finish(getattr(response, "stop_reason", None))
        return Reply(_text(content), finish, _usage(getattr(response, "usage", None)))


def _text(content: list[Any]) -> str:
    for block in content:
        if getattr(block, "type", None) == "tool_use":
            return json.dumps(getattr(block, "input", None), ensure_ascii=False, separators=(",", ":"))
    texts = [getattr(block, "text", None) for block in content if getattr(block, "type", None) == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _finish(reason: Any) -> Literal["stop", "length", "refusal"]:
    if reason == "refusal":
        return "refusal"
    return "length" if reason in ("max_tokens", "model_context_window_exceeded") else "stop"


def _usage(usage: Any) -> Usage:
    """Anthropic counts cached input apart from `input_tokens`; ours includes it."""
    cached = tokens(usage, "cache_read_input_tokens")
    fresh = tokens(usage, "input_tokens") + tokens(usage, "cache_creation_input_tokens")
    written = tokens(usage, "output_tokens")
    return Usage(
        input_tokens=fresh + cached,
        output_tokens=written,
        cached_tokens=cached,
        reasoning_tokens=min(written, tokens(usage, "output_tokens_details", "thinking_tokens")),
    )
