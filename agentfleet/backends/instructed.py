"""What the openai and anthropic backends share: one call through `instructor`, its reply, its errors.

The ladder owns retries of content and the dispatcher those of transport, so both are off here. No key may leave
this file except in the header of the request: not in an error, a log line or a repr.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from pydantic import BaseModel, field_validator

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.bounded import MOST_BYTES, http_client
from agentfleet.backends.failures import Failures, Where
from agentfleet.backends.streamed import Growing
from agentfleet.backends.strict import ANSWER, WireSchema, unfence, unwrap, wire_schema, wraps
from agentfleet.errors import BackendError, FleetError, MissingExtra, MissingKey, Unavailable
from agentfleet.schema import Output

STRATEGIES = ("native", "tools", "json", "plain")
"""How a rung gets JSON out of a model: the provider's own schema mode, a forced tool, JSON mode, or only the prompt."""

KEPT = 64
"""Classes of outputs that a backend keeps."""

PLACEHOLDER = "none"
"""Sent as the key to a server that needs none; the SDKs insist on one."""

_OURS: ContextVar[bool] = ContextVar("agentfleet_instructed", default=False)
_RESERVED = frozenset({"extra_headers", "extra_query", "input", "messages", "model", "stream", "timeout"})

_OURS_ALONE = frozenset({"field_shares", "path"})
"""Parameters for backends of this process: a host would refuse them as unknown, and a path is none of its business."""


@dataclass(slots=True)
class Call:
    """Arguments of one call. `mode`: name of instructor's mode; `body`: what must stand on the wire as it is here.

    `growing`: the answer is read as it is written.
    """

    mode: str
    arguments: dict[str, Any]
    response_model: type[BaseModel] | None = None
    body: dict[str, Any] = field(default_factory=dict)
    growing: Growing | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider's response says, read without trusting its shape."""

    text: str
    finish: Literal["stop", "length", "refusal"]
    usage: Usage


class Answer(BaseModel):
    """What instructor validates. Its JSON Schema is the one on the wire, its validation that of the output."""

    output: ClassVar[Output]
    wire: ClassVar[WireSchema]
    text: str

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The schema on the wire (whatever pydantic would derive from `text` is of no interest)."""
        return {"title": ANSWER, **cls.wire.schema}

    @classmethod
    def model_validate_json(cls, json_data: Any, **kwargs: Any) -> Answer:
        """Keep the raw text, so that the output's own parser judges it."""
        return cls.model_validate({"text": json_data})

    @field_validator("text")
    @classmethod
    def _accepted(cls, text: str) -> str:
        cls.output.parse(unwrap(text) if wraps(cls.output) else text)
        return text


def response_model(output: Output, wire: WireSchema) -> type[Answer]:
    """A class for `instructor` that stands for one output."""
    return type(ANSWER, (Answer,), {"__module__": __name__, "output": output, "wire": wire})


class Instructed(ABC):
    """A hosted or served model behind an SDK. Opens its client at the first call, one for each event loop.

    `key` may be empty where `base_url` is given. Raises MissingExtra, MissingKey, or FleetError for a bad URL.
    """

    times_itself: ClassVar[bool] = True
    """`Request.timeout` counts from when the request is sent, not from when the SDK is imported."""

    sdk: ClassVar[str]
    strategies: ClassVar[tuple[str, ...]] = STRATEGIES
    grows: ClassVar[tuple[str, ...]]
    """Strategies whose answers can be watched while they are written."""
    default_url: ClassVar[str]
    default_strategy: ClassVar[str]

    def __init__(
        self,
        model: str,
        name: str,
        key: str,
        base_url: str | None = None,
        strategy: str | None = None,
        timeout: float = 120.0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.model = model
        self.name = name
        self.strategy = _known_strategy(strategy or self.default_strategy, self.strategies, name)
        self.timeout = timeout
        self.most_bytes = most_bytes
        self.base_url = _checked_url(base_url or self.default_url, name)
        self.hosted = urlsplit(self.base_url).hostname == urlsplit(self.default_url).hostname
        check_key(key, name)
        if not key and base_url is None:
            raise MissingKey(f'model {name!r} needs a key: write key = "env:NAME" and set that variable')
        require(self.sdk, "instructor")
        self._key = key or PLACEHOLDER
        self._answers: OrderedDict[int, type[Answer]] = OrderedDict()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, name={self.name!r}, base_url={self.base_url!r})"

    @property
    def context(self) -> int | None:
        """Unknown here; the fleet file may say."""
        return None

    def count(self, request: Request) -> int | None:
        """None: the tokenizer is not here. `backends.estimate` gives a rough number."""
        return None

    async def complete(self, request: Request) -> Completion:
        """One HTTP request. Raises Unavailable, CallTimeout, Refused or another BackendError."""
        started = time.perf_counter()
        client = await self._client()
        heard: list[Any] = []
        call, wrapped = self._call(request), request.output.kind != "text" and wraps(request.output)
        if request.listen is not None and (request.output.kind == "text" or self.strategy in self.grows):
            call.growing = Growing(request.listen, request.output.kind, wrapped)
        failure = await self._send(client, call, request.timeout or self.timeout, heard)
        if failure is not None and not heard:
            # Raised out here, not where it was caught: no SDK error with its request hangs on to ours.
            raise failure
        reply = heard[0] if isinstance(heard[0], Reply) else self._read(heard[0])
        if reply is None:
            raise Unavailable(f"{self.name}: the server's answer is not a completion")
        text = unfence(reply.text) if self.strategy in ("json", "plain") else reply.text
        return Completion(
            text=unwrap(text) if wrapped else reply.text if request.output.kind == "text" else text,
            model=self.name,
            finish=reply.finish,
            usage=reply.usage,
            seconds=time.perf_counter() - started,
        )

    async def close(self) -> None:
        """Close the client of the running loop; those of other loops go with their loops."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            await asyncio.to_thread(_import_sdk, self.sdk)
            # Two first calls may meet here; the one that comes second finds the other's client.
            if loop not in self._clients:
                self._clients[loop] = self._open(http_client(self.base_url, self.most_bytes))
        return self._clients[loop]

    async def _send(self, client: Any, call: Call, limit: float, heard: list[Any]) -> BackendError | None:
        """Send; the response goes into `heard` even when instructor then rejects it. Returns what went wrong."""
        token = _OURS.set(True)
        try:
            async with asyncio.timeout(limit):
                if call.growing is None:
                    result = await self._transmit(client, call, limit, heard)
                else:
                    result = await self._stream(client, call, call.growing, limit)
        except Exception as error:  # whatever an SDK or instructor raises becomes an error of ours
            return self._failures(limit).explain(error)
        finally:
            _OURS.reset(token)
        if not heard:
            heard.append(result)
        return None

    async def _transmit(self, client: Any, call: Call, limit: float, heard: list[Any]) -> Any:
        """The request itself, through instructor."""
        from instructor import Mode
        from instructor.core.hooks import Hooks

        hooks = Hooks()
        hooks.on("completion:response", lambda response, **_: heard.append(response))
        return await self._instructor(client, Mode[call.mode]).create(
            response_model=call.response_model,
            max_retries=0,
            hooks=hooks,
            timeout=limit,
            extra_body=call.body,
            **call.arguments,
        )

    def _broken_off(self) -> Unavailable:
        host = urlsplit(self.base_url).netloc
        return Unavailable(f"{self.name}: the answer of {host} broke off before its end", retryable=True)

    def _failures(self, limit: float) -> Failures:
        return Failures(Where(self.name, self.model, urlsplit(self.base_url).netloc, limit), self._redact)

    def _redact(self, text: str) -> str:
        return text if self._key == PLACEHOLDER else text.replace(self._key, "[key]")

    @property
    def picky(self) -> bool:
        """Does the endpoint refuse what it does not know, rather than ignore it?"""
        return self.hosted

    def _answer(self, output: Output) -> type[Answer]:
        """The class of an output, with its schema on the wire; kept, because making one takes a millisecond."""
        found = self._answers.get(id(output))
        if found is None:  # a kept class holds its output, so no other has the same id
            found = self._answers[id(output)] = response_model(output, self._wire(output))
            if len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        return found

    def _wire(self, output: Output) -> WireSchema:
        return wire_schema(output, lengths=not self.picky)

    @abstractmethod
    def _open(self, http: Any) -> Any:
        """The SDK's async client over an HTTP client, without retries."""

    @abstractmethod
    def _instructor(self, client: Any, mode: Any) -> Any:
        """The client as instructor wraps it for a mode."""

    @abstractmethod
    def _call(self, request: Request) -> Call:
        """The arguments of a request under the strategy of this rung."""

    @abstractmethod
    async def _stream(self, client: Any, call: Call, growing: Growing, limit: float) -> Reply | None:
        """The request, and its answer read as it is written. Raises `_broken_off` unless its end was seen."""

    @abstractmethod
    def _read(self, response: Any) -> Reply | None:
        """What the response says; None when it is no completion at all."""


def check_key(key: str, name: str) -> None:
    """Raise FleetError for a key that no header could carry; the key is not shown."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FleetError(f"model {name!r}: its key holds characters that no key has; set the variable again")


def require(*modules: str) -> None:
    """Raise MissingExtra unless all of the modules are installed. Imports none of them."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)} is not installed; run: pip install 'agentfleet[frontier]'")


def turns(request: Request) -> list[dict[str, str]]:
    """The prompt's messages in the form that both APIs share. Empty ones get a word: both refuse empty text."""
    return [{"role": m.role, "content": printable(m.content) or "(empty)"} for m in request.prompt.messages()]


def shown_schema(wire: WireSchema) -> str:
    """The sentence that tells an unconstrained model what to write."""
    schema = json.dumps(wire.schema, ensure_ascii=False, separators=(",", ":"))
    return f"Answer with one JSON object and nothing else. It must fit this JSON Schema:\n{schema}"


def printable(text: str) -> str:
    """Text that can be encoded: a lone surrogate becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tokens(usage: Any, *path: str) -> int:
    """A count somewhere in a usage object; 0 where it is absent or no sensible number."""
    for name in path:
        usage = usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None)
    sensible = isinstance(usage, int | float) and not isinstance(usage, bool) and 0 <= usage < 1e12
    return int(usage) if sensible else 0


def settings(request: Request, known: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rung's parameters: those the SDK's method has, and the rest for the body. None means: do not send.

    Raises FleetError for one that this backend sets itself.
    """
    given = {key: value for key, value in request.params.items() if value is not None and key not in _OURS_ALONE}
    clash = sorted(_RESERVED & given.keys())
    if clash:
        raise FleetError(f"params of a model may not set {', '.join(clash)}; agentfleet sends that itself")
    body = dict(given.pop("extra_body", {}))
    body.update({key: given.pop(key) for key in list(given) if key not in known})
    return given, body


def headers(request: Request) -> dict[str, str]:
    """The extra headers of a call."""
    return {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else {}


def _known_strategy(strategy: str, known: tuple[str, ...], name: str) -> str:
    if strategy not in known:
        raise FleetError(f"model {name!r}: strategy {strategy!r} is none of {', '.join(known)}")
    return strategy


def _checked_url(url: str, name: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise FleetError(f'model {name!r}: base_url holds credentials or a query; give the key as key = "env:NAME"')
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FleetError(f"model {name!r}: base_url must be http://HOST[:PORT]/… or https://HOST/…")
    return url.rstrip("/")


def _import_sdk(sdk: str) -> None:
    """Load SDK and instructor (a second or more: never on the event loop)."""
    importlib.import_module(sdk)
    importlib.import_module("instructor")
    for name in ("instructor.v2.retry", "instructor"):
        logger = logging.getLogger(name)
        if _not_ours not in logger.filters:
            logger.addFilter(_not_ours)


def _not_ours(record: logging.LogRecord) -> bool:
    """Drops instructor's log of our own calls: it quotes server messages, and we report the failure ourselves."""
    return not _OURS.get()
