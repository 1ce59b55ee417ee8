"""Requests that cannot be answered, as any client could send them: each gets a typed error, and the next is served."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve.endpoint import Endpoint

pytestmark = [pytest.mark.real_model, pytest.mark.server]

KEY = "k-3141592653589793"


@pytest.fixture(autouse=True)
def _still_serves(endpoint: Endpoint) -> Iterator[None]:
    yield
    assert endpoint.chat(max_tokens=1).status == 200


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("messages", {"messages": []}),
        ("messages", {"messages": "hello"}),
        ("messages.0.role", {"messages": [{"role": "tool", "content": "x"}]}),
        ("messages.0.content", {"messages": [{"role": "user"}]}),
        ("messages.0.content", {"messages": [{"role": "user", "content": 7}]}),
        ("messages.0.content.0.type", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        ("max_tokens", {"max_tokens": 0}),
        ("temperature", {"temperature": -1}),
        ("n", {"n": 2}),
        ("logprobs", {"logprobs": True}),
        ("tools", {"tools": [{"type": "function"}]}),
        ("guided_json", {"guided_json": {}}),
        ("response_format", {"response_format": {"type": "xml"}}),
        ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
        ("response_format.schema", {"response_format": {"type": "json_object", "schema": {}}}),
        ("model", {"model": 1}),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(endpoint: Endpoint, field: str, fields: dict[str, Any]) -> None:
    answer = endpoint.chat(**fields)
    assert (answer.status, answer.error["param"]) == (400, field)
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]},
        {"type": "string", "pattern": "(?<=a)b"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_held_is_the_clients_fault(
    endpoint: Endpoint, schema: dict[str, Any], stream: bool
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = endpoint.chat(response_format=form, stream=stream)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (
        400,
        "response_format",
        "unsupported_schema",
    )


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"model": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b"1e999"],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_body_that_is_no_request_is_refused(endpoint: Endpoint, raw: bytes) -> None:
    answer = endpoint.ask("POST", "/v1/chat/completions", raw)
    assert answer.status == 400
    assert answer.error["message"]


def test_a_prompt_that_is_too_long_is_refused_with_how_much(own: Callable[..., Endpoint], tmp_path: Path) -> None:
    entry = 'name = "smollm2"\nbackend = "llama_cpp"\nmodel = "embedded"\ncontext = 200\n'
    (tmp_path / "agentfleet.toml").write_text(f"[[models]]\n{entry}")
    small = own()
    answer = small.chat("word " * 300, max_tokens=1)
    assert (answer.status, answer.error["code"]) == (413, "context_length_exceeded")
    over = answer.error["tokens_over"]
    assert str(over) in answer.error["message"]
    assert small.chat("word " * (300 - over), max_tokens=1).status == 200
    assert small.chat("word " * (301 - over), max_tokens=1).error["tokens_over"] == 1


def test_an_answer_that_cannot_fit_is_refused(endpoint: Endpoint) -> None:
    assert endpoint.chat(max_tokens=4096).error["tokens_over"] > 0


def test_a_huge_body_is_not_read_to_its_end(endpoint: Endpoint) -> None:
    assert endpoint.chat("x" * 3_000_000).error["code"] == "body_too_large"


def test_a_body_that_is_not_json_is_refused(endpoint: Endpoint) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}]}
    assert endpoint.ask("POST", "/v1/chat/completions", body, content_type="text/plain").status == 415
    assert endpoint.ask("POST", "/v1/chat/completions", body, content_encoding="zstd").status == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/chat/completions", 405), ("GET", "/v1/models/gpt", 404)],
)
def test_paths_that_are_not_there_answer_in_json(endpoint: Endpoint, method: str, path: str, status: int) -> None:
    answer = endpoint.ask(method, path)
    assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")


def test_another_name_for_loopback_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.ask("GET", "/v1/models", host="evil.example")
    assert (answer.status, answer.error["code"]) == (403, "wrong_host")
    assert endpoint.ask("GET", "/v1/models", host=f"localhost:{endpoint.port}").status == 200


def test_what_asks_for_nothing_is_accepted(endpoint: Endpoint) -> None:
    more = {"n": 1, "stop": None, "tools": [], "user": "u", "metadata": {"a": "b"}, "presence_penalty": 0.0}
    assert endpoint.chat(**more).status == 200


def test_half_a_request_holds_nothing_up(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        half.sendall(b"content-length: 1000\r\n\r\n{")
        assert endpoint.chat(max_tokens=1).status == 200
    endpoint.until(running=0, queue=0)


def test_a_key_is_asked_for_and_never_shown(own: Callable[..., Endpoint]) -> None:
    locked = own("--key", "env:SERVED_KEY", SERVED_KEY=KEY)
    for given in ({}, {"authorization": "Bearer no"}, {"authorization": KEY}, {"authorization": f"Basic {KEY}"}):
        answer = locked.ask("GET", "/v1/models", **given)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert KEY not in answer.raw.decode()
    assert locked.ask("GET", "/v1/models", authorization=f"Bearer {KEY}").status == 200
    assert locked.ask("GET", "/health").status == 200
    code, err = locked.end()
    assert code == 0 and KEY not in err


def test_early_problems_of_a_stream_have_a_status(endpoint: Endpoint) -> None:
    answer = endpoint.chat("word " * 6000, stream=True)
    assert answer.status == 413
    good = endpoint.chat(stream=True)
    events = [line.removeprefix("data: ") for line in good.raw.decode().splitlines() if line]
    assert events[-1] == "[DONE]"
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-1])
