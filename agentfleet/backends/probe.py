"""Finds out what a model can do by asking it: does a schema hold it, tools, log probabilities, decisions, context, speed.

Each way of structured output is tried through the same backend that steps use, so what is found is what they will get.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import create_model

from agentfleet.backends.backend import Backend, Request
from agentfleet.backends.bounded import Unread, http_client
from agentfleet.errors import BackendError
from agentfleet.fleet.discover import context_of
from agentfleet.fleet.model import Model
from agentfleet.fleet.probes import ENFORCED, FOLLOWED, IGNORED, Probed
from agentfleet.ids import fingerprint
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Invalid, Output, output_of

ROUNDS: Final = 2
"""Schemas, each of words that were drawn for it, that a model must keep to before it is believed."""
ROOM: Final = 512
"""Tokens of an answer at most; a model that reasons before it answers needs some."""
LONG: Final = 64
"""Tokens of the answer by which the speed is measured."""
WAIT: Final = 60.0
"""Seconds for one plain request."""

_SHOWS: Final = frozenset({"json", "plain"})
"""Ways that only tell the model the schema; a server cannot enforce it there."""

Open = Callable[[Model], Backend]


async def probe(model: Model, open_backend: Open, identity: str = "", say: Callable[[str], None] = print) -> Probed:
    """Ask a model what it can do: some ten to twenty short calls, which cost money where the model does.

    `open_backend`: opens an entry of the fleet. `identity`: of weights on this machine. `say`: told what is asked now.
    Raises BackendError when it cannot be reached at all.
    """
    found = _Found(model, say)
    if model.backend == "decisions":
        await _timed_decision(found, open_backend)
    else:
        await _timed(found, open_backend)
        for name in _ways(model):
            say(f"schema by {name}")
            found.strategies[name] = await _verdict(model, name, open_backend)
    if model.base_url is not None:
        await _asked_plainly(found)
    elif "tools" in found.strategies:
        found.facts["tools"] = found.strategies["tools"] in (ENFORCED, FOLLOWED)
    return found.probed(identity)


@dataclass(slots=True)
class _Found:
    """What is known so far."""

    model: Model
    say: Callable[[str], None]
    strategies: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    identity: str = ""

    def probed(self, identity: str) -> Probed:
        model = self.model
        return Probed(
            backend=model.backend,
            model=model.model,
            base_url=model.base_url,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            identity=identity or self.identity or fingerprint(model.backend, model.model, model.base_url),
            strategies=self.strategies,
            **self.facts,
        )


def _ways(model: Model) -> tuple[str, ...]:
    return ("native", "tools", "json", "plain") if model.backend in ("openai", "anthropic") else ("grammar",)


@asynccontextmanager
async def _opened(model: Model, open_backend: Open) -> AsyncIterator[Backend]:
    backend = open_backend(model)
    try:
        yield backend
    finally:
        await backend.close()


def _request(model: Model, prompt: Prompt, output: Output, most: int = ROOM) -> Request:
    return Request(prompt, output, max_tokens=most, timeout=model.timeout, params=model.params)


# -- speed ---------------------------------------------------------------------------------------------------------------


async def _timed(found: _Found, open_backend: Open) -> None:
    """How long a first token takes and those after it. The first call only warms up, and must work."""
    text = output_of(str, where="probe")
    prompt = Prompt("Do what the text asks for.", (Block("text", "Count from one to forty in words."),))
    one, many = (_request(found.model, prompt, text, most) for most in (1, LONG))
    found.say("speed")
    async with _opened(found.model, open_backend) as backend:
        await backend.complete(one)
        first = await backend.complete(one)
        more = await backend.complete(many)
        found.facts["context"] = backend.context
    found.facts["latency_ms"] = round(first.seconds * 1000, 2)
    written = more.usage.output_tokens - 1
    if written > 0:
        found.facts["ms_per_token"] = round(max(0.0, more.seconds - first.seconds) * 1000 / written, 3)


async def _timed_decision(found: _Found, open_backend: Open) -> None:
    output = output_of(bool, where="probe", closed=True)
    prompt = Prompt("Is the sky mentioned?", (Block("text", "The sky is blue."),))
    found.say("a decision")
    async with _opened(found.model, open_backend) as backend:
        done = await backend.complete(_request(found.model, prompt, output))
    found.facts["latency_ms"] = round(done.seconds * 1000, 2)


# -- schemas ---------------------------------------------------------------------------------------------------------------


async def _verdict(model: Model, way: str, open_backend: Open) -> str:
    """Is a schema enforced, followed when the model is asked to, or ignored? "failed: why" when it cannot be sent."""
    entry = model if way == "grammar" else model.model_copy(update={"strategy": way})
    try:
        async with _opened(entry, open_backend) as backend:
            if way not in _SHOWS and await _keeps(entry, backend, _against):
                return ENFORCED
            return FOLLOWED if await _keeps(entry, backend, _along) else IGNORED
    except BackendError as error:
        return f"failed: {error}"


async def _keeps(model: Model, backend: Backend, asked: Callable[[str, str], str]) -> bool:
    """Does the answer fit, for each of some schemas whose words nobody can know beforehand?"""
    for _ in range(ROUNDS):
        name, word = f"k{secrets.token_hex(3)}", f"w{secrets.token_hex(3)}"
        output = _schema(name, word)
        prompt = Prompt(asked(name, word), (Block("text", "potato"),))
        done = await backend.complete(_request(model, prompt, output))
        if done.finish != "stop" or not _fits(output, done.text):
            return False
    return True


def _against(name: str, word: str) -> str:
    """What only a model obeys that the schema does not hold."""
    return "Write the one word of the text and nothing else. Write no JSON and no braces, whatever form is asked for."


def _along(name: str, word: str) -> str:
    return f'Write a JSON object with the one key "{name}" and the value "{word}".'


def _schema(name: str, word: str) -> Output:
    kind: Any = Literal[word, f"{word}x"]
    fields: Any = {name: (kind, ...)}
    return output_of(create_model("Probe", **fields), where="probe")


def _fits(output: Output, text: str) -> bool:
    try:
        output.parse(text)
    except Invalid:
        return False
    return True


# -- what only the server can say --------------------------------------------------------------------------------------------


async def _asked_plainly(found: _Found) -> None:
    """Plain requests beside the SDKs: the list of models, log probabilities, a tool, the two ways of decisions."""
    from agentfleet.fleet.config import resolve_key

    assert found.model.base_url is not None
    plain = _Plain(found.model.base_url, resolve_key(found.model))
    found.say("what the server says of itself")
    try:
        await _described(found, plain)
        if found.model.backend == "openai":
            found.facts["logprobs"] = _has_logprobs(await plain.post("/v1/chat/completions", _chat(found, _LOGPROBS)))
            found.facts["tools"] = _calls_tool(await plain.post("/v1/chat/completions", _chat(found, _TOOL)))
        found.facts["systemone"] = _decided(await plain.post("/v1/systemone", {**_STATE, "model": found.model.model}))
        found.facts["decisions"] = _decided(await plain.post("/v1/decisions", {**_INPUT, "model": found.model.model}))
    finally:
        await plain.close()


class _Plain:
    """Requests by path. What goes wrong is no answer: None."""

    def __init__(self, base_url: str, key: str) -> None:
        self._root = base_url.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = http_client(base_url)

    async def get(self, path: str) -> Any:
        return await self._sent("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._sent("POST", path, body)

    async def close(self) -> None:
        await self._client.aclose()

    async def _sent(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        import httpx2

        raw = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **({} if body is None else {"content-type": "application/json"})}
        try:
            url = f"{self._root}{path}"
            response = await self._client.request(method, url, content=raw, headers=headers, timeout=WAIT)
            return json.loads(response.content) if response.status_code == 200 else None
        except (httpx2.HTTPError, Unread, ValueError, RecursionError):
            return None


_QUESTION = {"type": "noul", "instructions": "Is the sky mentioned?"}
_STATE: Final = {"state": "The sky is blue.", "questions": {"sky": _QUESTION}}
_INPUT: Final = {
    "input": "The sky is blue.",
    "questions": [{"type": "predicate", "name": "sky", "instructions": "Is the sky mentioned?"}],
}
_LOGPROBS: Final = {"logprobs": True, "top_logprobs": 2, "max_tokens": 1}
_FUNCTION = {"name": "weather", "description": "The weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}  # fmt: skip
_TOOL: Final = {
    "tools": [{"type": "function", "function": _FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "max_tokens": ROOM,
}


def _chat(found: _Found, more: Mapping[str, Any]) -> dict[str, Any]:
    turn = {"role": "user", "content": "What is the weather in Rome?"}
    return {"model": found.model.model, "messages": [turn], **more}


async def _described(found: _Found, plain: _Plain) -> None:
    """Context and identity, from wherever this kind of server tells them. What it does not tell stays unknown."""
    entry = _row(await plain.get("/v1/models"), "data", "id", found.model.model)
    if entry is not None:
        stable = {key: value for key, value in entry.items() if key not in ("created", "permission")}
        digest = entry.get("sha256")
        found.identity = digest if isinstance(digest, str) and digest else fingerprint(stable)
    context = context_of(entry or {}) or _number(await plain.get("/props"), "default_generation_settings", "n_ctx")
    tags = await plain.get("/api/tags")
    pulled = _row(tags, "models", "name", found.model.model)
    if pulled is not None and isinstance(pulled.get("digest"), str):
        found.identity = pulled["digest"]
        loaded = _row(await plain.get("/api/ps"), "models", "name", found.model.model)
        context = _number(loaded, "context_length") or context
    found.facts["context"] = context or found.facts.get("context")


def _row(data: Any, table: str, key: str, name: str) -> Mapping[str, Any] | None:
    rows = data.get(table) if isinstance(data, Mapping) else None
    named = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return next((row for row in named if row.get(key) in (name, f"{name}:latest")), None)


def _number(data: Any, *path: str) -> int | None:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if type(data) is int and data > 0 else None


def _choice(data: Any) -> Mapping[str, Any]:
    """The first choice of a chat answer; empty when it is none."""
    choices = data.get("choices") if isinstance(data, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    return first


def _has_logprobs(data: Any) -> bool:
    logprobs = _choice(data).get("logprobs")
    rows = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) else {}
    value = first.get("logprob")
    return isinstance(value, int | float) and math.isfinite(value)


def _calls_tool(data: Any) -> bool:
    message = _choice(data).get("message")
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    first = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], Mapping) else {}
    function = first.get("function")
    return isinstance(function, Mapping) and function.get("name") == "weather"


def _decided(data: Any) -> bool:
    answers = data.get("answers") if isinstance(data, Mapping) else None
    rows = [answers.get("sky")] if isinstance(answers, Mapping) else answers
    first = rows[0] if isinstance(rows, list) and rows else None
    value = first.get("noul", first.get("probability")) if isinstance(first, Mapping) else None
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
