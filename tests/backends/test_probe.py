"""Servers that enforce a schema, only follow it, ignore it, or cannot take it: the probe tells them apart by asking."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers.plain import PlainServer, Said

from agentfleet.backends.instructed import Instructed
from agentfleet.backends.probe import probe
from agentfleet.errors import BackendError
from agentfleet.fleet.model import Model
from agentfleet.fleet.probes import Probed, save_probe
from agentfleet.routing.open import open_backend

KEY = "pk-canary-16180339"
CHAT = "/v1/chat/completions"


def filled(schema: Any) -> str:
    """The first answer that fits, as a constrained decoder would write it."""
    (name,) = schema["properties"]
    return json.dumps({name: schema["properties"][name]["enum"][0]})


def told(body: Any) -> str | None:
    """What the words of the request ask for; None when they ask for no JSON."""
    asked = re.search(r'the one key "(\w+)" and the value "(\w+)"', json.dumps(body["messages"]).replace('\\"', '"'))
    return json.dumps({asked[1]: asked[2]}) if asked else None


def message(text: str, tool: str = "", **choice: Any) -> Said:
    said: dict[str, Any] = {"role": "assistant", "content": text}
    if tool:
        call = {"id": "c", "type": "function", "function": {"name": tool, "arguments": text}}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
    row = {"index": 0, "message": said, "finish_reason": "stop", **choice}
    usage = {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29}
    return Said({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [row], "usage": usage})


def schema_of(body: Any) -> Any:
    form = body.get("response_format") or {}
    return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None


def enforces(body: Any) -> Said:
    """Native schemas and forced tools cannot be broken; log probabilities are given."""
    if body.get("logprobs"):
        return message("x", logprobs={"content": [{"token": "x", "logprob": -0.1}]})
    for tool in body.get("tools") or []:
        function = tool["function"]
        return message(
            '{"city": "Rome"}' if function["name"] == "weather" else filled(function["parameters"]), function["name"]
        )
    schema = schema_of(body)
    return message(filled(schema) if schema else told(body) or "potato")


def follows(body: Any) -> Said:
    """Takes every parameter and looks at none; does what the words ask for."""
    return message(told(body) or "potato")


def ignores(body: Any) -> Said:
    """Talks, whatever is asked for."""
    return message("potato")


def refuses(body: Any) -> Said:
    """Knows no structured output and no tools, and says so."""
    if body.get("response_format") or body.get("tools") or body.get("logprobs"):
        return Said({"error": {"message": "unknown field", "type": "invalid_request_error"}}, 400)
    return message(told(body) or "potato")


def shows(body: Any) -> Said:
    """Puts a native schema into the prompt, and the model obeys the last words: nothing is enforced."""
    return message(told(body) or "potato")


def ask(server: PlainServer, backend: str = "openai", **more: Any) -> Probed:
    entry = Model(name="q", backend=backend, model="m", base_url=f"{server.url}/v1", **more)  # type: ignore[arg-type]
    return asyncio.run(probe(entry, open_backend, say=lambda line: None))


@pytest.mark.parametrize(
    ("server", "native", "tools", "json_", "best"),
    [
        (enforces, "enforced", "enforced", "followed", "native"),
        (follows, "followed", "followed", "followed", "native"),
        (ignores, "ignored", "ignored", "ignored", None),
        (refuses, "failed", "failed", "failed", "plain"),
        (shows, "followed", "followed", "followed", "native"),
    ],
)
def test_what_a_server_does_with_a_schema(
    server: Callable[[Any], Said], native: str, tools: str, json_: str, best: str | None
) -> None:
    with PlainServer({CHAT: server}) as there:
        found = ask(there)
    got = {way: verdict.split(":")[0] for way, verdict in found.strategies.items()}
    assert (got["native"], got["tools"], got["json"]) == (native, tools, json_)
    assert found.strategy == best


def test_what_else_it_can_do() -> None:
    entry = {"id": "m", "owned_by": "vllm", "max_model_len": 40960, "created": 5}
    answers = {"sky": {"type": "noul", "noul": 0.97}}
    replies: dict[str, Any] = {
        CHAT: enforces,
        "/v1/models": Said({"data": [{"id": "other"}, entry]}),
        "/v1/systemone": Said({"answers": answers}),
        "/v1/decisions": Said({"answers": [{"type": "predicate", "name": "sky", "probability": 0.9}]}),
    }
    with PlainServer(replies) as there:
        found = ask(there)
    assert (found.logprobs, found.tools, found.systemone, found.decisions, found.context) == (
        True,
        True,
        True,
        True,
        40960,
    )
    assert found.latency_ms is not None and found.latency_ms > 0
    assert found.ms_per_token is not None
    with PlainServer({CHAT: enforces, "/v1/models": Said({"data": [{**entry, "created": 6}]})}) as later:
        assert ask(later).identity == found.identity
    with PlainServer({CHAT: enforces, "/v1/models": Said({"data": [{**entry, "root": "tuned"}]})}) as changed:
        assert ask(changed).identity != found.identity


def test_what_it_cannot_do_is_no_and_what_it_does_not_say_is_unknown() -> None:
    with PlainServer({CHAT: refuses}) as there:
        found = ask(there)
    assert (found.logprobs, found.tools, found.systemone, found.decisions) == (False, False, False, False)
    assert found.context is None


@pytest.mark.parametrize(
    "answer", [[], {"answers": 1}, {"answers": [1]}, {"answers": {"sky": {"noul": True}}}, {"choices": [1]}, b"<"]
)
def test_answers_that_are_none_are_no(answer: Any) -> None:
    said = Said(answer)
    with PlainServer(
        {CHAT: follows, "/v1/models": said, "/props": said, "/v1/systemone": said, "/api/tags": said}
    ) as there:
        found = ask(there)
    assert (found.systemone, found.context) == (False, None)


def test_ollama_says_what_it_loaded_not_what_could_be() -> None:
    replies: dict[str, Any] = {
        CHAT: follows,
        "/v1/models": Said({"data": [{"id": "m", "owned_by": "library"}]}),
        "/api/tags": Said({"models": [{"name": "m:latest", "digest": "d" * 64}]}),
        "/api/ps": Said({"models": [{"name": "m:latest", "context_length": 4096}]}),
    }
    with PlainServer(replies) as there:
        found = ask(there)
    assert (found.identity, found.context) == ("d" * 64, 4096)


def test_llama_server_says_its_context_in_props() -> None:
    with PlainServer({CHAT: follows, "/props": Said({"default_generation_settings": {"n_ctx": 2048}})}) as there:
        assert ask(there).context == 2048


def test_a_decision_model_is_asked_a_decision() -> None:
    answers = {"answer": {"type": "noul", "noul": 0.9}, "sky": {"type": "noul", "noul": 0.9}}
    with PlainServer({"/v1/systemone": Said({"answers": answers})}) as there:
        found = ask(there, "decisions")
    assert (found.systemone, found.decisions, found.strategies) == (True, False, {})
    assert found.latency_ms is not None


@pytest.mark.parametrize("said", [Said(status=500), Said({"error": {"message": "no", "code": "x"}}, 401)])
def test_a_server_that_cannot_be_asked_is_an_error(said: Said) -> None:
    with PlainServer({CHAT: said}) as there, pytest.raises(BackendError, match="answered"):
        ask(there)


def test_its_key_is_sent_and_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBED_KEY", KEY)
    with PlainServer({CHAT: enforces}) as there:
        found = ask(there, key="env:PROBED_KEY")
    assert {seen.headers["authorization"] for seen in there.seen if "authorization" in seen.headers} == {
        f"Bearer {KEY}"
    }
    assert KEY not in found.model_dump_json()


def test_what_was_found_decides_where_the_fleet_file_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = Model(name="q", backend="openai", model="m", base_url="http://127.0.0.1:9/v1")

    def strategy(model: Model) -> str:
        backend = open_backend(model)
        assert isinstance(backend, Instructed)
        return backend.strategy

    assert strategy(entry) == "native"
    about = {
        "backend": "openai",
        "model": "m",
        "base_url": "http://127.0.0.1:9/v1",
        "date": "2026-11-25",
        "identity": "x",
    }
    save_probe("q", Probed(**about, strategies={"native": "ignored", "tools": "enforced"}), tmp_path)
    assert strategy(entry) == "tools"
    assert strategy(entry.model_copy(update={"strategy": "json"})) == "json"
    assert strategy(entry.model_copy(update={"model": "another"})) == "native"
