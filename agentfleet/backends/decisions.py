"""Decision models: a classify step with one or many closed fields is one request, and every option has a probability.

Speaks System One (``/v1/systemone``) and OpenAI's Decisions (``/v1/decisions``) over plain HTTP.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from agentfleet.backends.backend import Completion, Request, Usage, least_certain
from agentfleet.backends.bounded import Unread, http_client
from agentfleet.backends.decision_wire import OPTIONS, QUESTIONS, WIRES, Malformed, Told, Wire
from agentfleet.backends.failures import Failures, Where
from agentfleet.backends.instructed import check_key, headers, require, tokens
from agentfleet.closed import Question
from agentfleet.errors import BackendError, FleetError, Unavailable, nearest
from agentfleet.schema import Invalid, strict_json


@dataclass(frozen=True, slots=True)
class Decided(Completion):
    """A completion with the distribution of each field. `distributions`: field → option → probability, for several."""

    distributions: Mapping[str, Mapping[str, float]] | None = None


class APIConnectionError(Exception):
    """No answer came; its cause is the HTTP library's error. `failures` knows it by its name, as it does the SDKs'."""


class APIStatusError(Exception):
    """A response that is an error, in the shape by which `failures` knows those of the SDKs."""

    def __init__(self, response: Any, body: Any) -> None:
        super().__init__(f"status {response.status_code}")
        self.status_code = response.status_code
        self.response = response
        self.body = body


class Decisions:
    """A decision model behind `base_url` (with or without ``/v1``). `wire`: systemone or decisions.

    Raises MissingExtra, or FleetError for an unknown wire or an impossible key.
    """

    times_itself: Final = True
    """`Request.timeout` counts from when the request is sent."""

    def __init__(
        self, model: str, name: str, key: str, base_url: str, wire: str = "systemone", timeout: float = 120.0
    ) -> None:
        if wire not in WIRES:
            raise FleetError(
                f"model {name!r}: params.wire {str(wire)[:40]!r} is no protocol{nearest(str(wire), WIRES)}"
            )
        check_key(key, name)
        self.model = model
        self.name = name
        self.timeout = timeout
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._wire: Wire = WIRES[wire]()
        self._key = key
        require("httpx2")
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, name={self.name!r}, base_url={self.base_url!r})"

    @property
    def context(self) -> int | None:
        """Unknown here; the fleet file may say."""
        return None

    def count(self, request: Request) -> int | None:
        """None: the tokenizer is not here."""
        return None

    async def complete(self, request: Request) -> Completion:
        """One HTTP request for all questions. Raises Unavailable, CallTimeout, Refused or another BackendError.

        A question that the model declines makes the completion a refusal; one that it left out is missing in the text.
        """
        started = time.perf_counter()
        questions = request.output.questions
        self._check(request.output.kind, questions)
        body = self._wire.body(self.model, request.prompt, questions)
        data = await self._send(body, headers(request), request.timeout or self.timeout)
        try:
            told = self._wire.told(data, questions)
        except Malformed as error:
            raise Unavailable(f"{self.name}: the server's answer is no decision: {error}") from None
        return _completion(self.name, questions, told, _usage(data), time.perf_counter() - started)

    async def close(self) -> None:
        """Close the client of the running loop; those of other loops go with their loops."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _check(self, kind: str, questions: Sequence[Question]) -> None:
        """What no such model takes is said before anything is sent."""
        if kind != "closed" or not questions:
            raise BackendError(f"{self.name} decides between options and writes nothing; use it for classify steps")
        if len(questions) > QUESTIONS:
            raise BackendError(f"{self.name}: {len(questions)} questions; at most {QUESTIONS} in one request")
        for question in questions:
            count = len(question.options)
            if not self._wire.fewest <= count <= OPTIONS:
                limits = f"{self._wire.fewest} to {OPTIONS}"
                raise BackendError(
                    f"{self.name}: {question.name or 'the question'} has {count} options; {limits} can be"
                )

    async def _send(self, body: Mapping[str, Any], more: Mapping[str, str], limit: float) -> Any:
        """The JSON data of the answer. An error of the HTTP library never hangs on to ours: it knows the request."""
        failure: BackendError
        try:
            async with asyncio.timeout(limit):
                return await self._asked(body, more)
        except BackendError as error:
            failure = error
        except Exception as error:  # whatever the HTTP library raises becomes an error of ours
            failure = self._explained(error, limit)
        raise failure

    async def _asked(self, body: Mapping[str, Any], more: Mapping[str, str]) -> Any:
        import httpx2

        raw = json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()
        given = {"content-type": "application/json", **more}
        if self._key:
            given["authorization"] = f"Bearer {self._key}"
        url = f"{self.base_url}{self._wire.path}"
        try:
            response = await self._client().post(url, content=raw, headers=given, timeout=None)
        except httpx2.TransportError as error:
            raise APIConnectionError from error
        data = _json(response.content)
        if response.status_code != 200:
            raise APIStatusError(response, data)
        if data is None:
            raise ValueError
        return data

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = http_client(self.base_url)
        return self._clients[loop]

    def _explained(self, error: Exception, limit: float) -> BackendError:
        host = urlsplit(self.base_url).netloc
        if isinstance(error, Unread):
            return Unavailable(f"{self.name}: the answer of {host} {error}")
        return Failures(Where(self.name, self.model, host, limit), self._redact).explain(error)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _json(raw: bytes) -> Any:
    """JSON data, None when it is none."""
    try:
        return strict_json(raw.decode("utf-8"))
    except (Invalid, UnicodeDecodeError):
        return None


def _usage(data: Any) -> Usage:
    usage = data.get("usage") if isinstance(data, Mapping) else None
    given = tokens(usage, "input_tokens")
    cached = min(given, tokens(usage, "cached_tokens") or tokens(usage, "input_tokens_details", "cached_tokens"))
    return Usage(given, tokens(usage, "output_tokens"), cached)


def _completion(
    name: str, questions: Sequence[Question], told: Mapping[str, Told], usage: Usage, seconds: float
) -> Decided:
    values = {q.name: _best(q, told[q.name]) for q in questions if q.name in told and not told[q.name].refused}
    named = {q: said.shares for q, said in told.items() if said.shares}
    single = len(questions) == 1 and not questions[0].name
    refused = [q.name or "the question" for q in questions if q.name in told and told[q.name].refused]
    answer = values.get("", "") if single else values
    text = json.dumps(answer, ensure_ascii=False)
    if refused:
        return Decided(f"declined: {', '.join(refused)}; answered: {text}", name, "refusal", usage, seconds)
    return Decided(
        text,
        name,
        usage=usage,
        seconds=seconds,
        distribution=None if not named else named[""] if single else least_certain(named),
        distributions=None if single else named,
    )


def _best(question: Question, said: Told) -> Any:
    """The value of the likeliest option."""
    return max(question.options, key=lambda option: said.shares[option.text]).value
