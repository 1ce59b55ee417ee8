"""What is too large, too deep or too slow gets an error that says so, and the engine goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.grammar import DEEPEST, KEPT, LARGEST
from agentfleet.backends.llama_cpp.native import BATCH, Entry
from agentfleet.errors import BackendError, CallTimeout, FleetError
from agentfleet.prompt import Message
from agentfleet.schema import Output

pytestmark = pytest.mark.real_model
Ask = Callable[..., Completion]


class Name(BaseModel):
    name: Annotated[str, Field(max_length=8)]


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": 3}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}
    return schema


def itself() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"a": schema}
    return schema


BOMBS: dict[str, tuple[dict[str, Any], str]] = {
    "deep": (nested(5_000), f"more than {DEEPEST} levels"),
    "contains itself": (itself(), f"more than {DEEPEST} levels"),
    "many options": ({"enum": list(range(LARGEST + 1))}, f"more than {LARGEST} values"),
    "refers to itself": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "no answer at all"),
    "no option": ({"enum": []}, "cannot be held|cannot hold"),
    "a look back": ({"type": "string", "pattern": r"^(a+)\1$"}, "cannot hold"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_schema_bomb_is_refused(engine: LlamaCpp, request_for: Callable[..., Request], ask: Ask, name: str) -> None:
    schema, message = BOMBS[name]
    request = replace(request_for("hi", str), output=Output("json", dict, schema))
    with pytest.raises(BackendError, match=message):
        asyncio.run(engine.complete(request))
    Name.model_validate_json(ask("hi", Name).text)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "boolean"}, "minItems": 0, "maxItems": 10**6},
        {"type": "string", "maxLength": 10**6},
        {"type": "string", "pattern": "^(((a{1,90}){1,90}){1,90}){1,90}$"},
        nested(30),
    ],
)
def test_what_is_only_long_is_cut_at_the_limit(
    engine: LlamaCpp, request_for: Callable[..., Request], schema: dict[str, Any]
) -> None:
    request = replace(request_for("hi", str, max_tokens=12), output=Output("json", dict, schema))
    done = asyncio.run(engine.complete(request))
    assert done.usage.output_tokens <= 12


def test_many_schemas_do_not_pile_up(engine: LlamaCpp) -> None:
    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> int:
        for number in range(KEPT + 50):
            model.grammars.of_schema({"enum": [f"value {number}"]})
        return len(model.grammars._compiled) + len(model.grammars._schemas)

    assert engine.call([Message("user", "hi")], 1, work) <= 2 * KEPT


def test_an_answer_that_ends_in_what_is_forced_is_cut_there(ask: Ask) -> None:
    """The grammar knows the closing brackets before there is room for them: that is no whole answer."""

    class Deep(BaseModel):
        outer: Annotated[list[Name], Field(min_length=1, max_length=1)]

    whole = ask("hi", Deep)
    assert whole.finish == "stop"
    for limit in range(1, whole.usage.output_tokens):
        done = ask("hi", Deep, max_tokens=limit)
        assert (done.finish, done.usage.output_tokens) == ("length", limit)
    assert ask("hi", Deep, max_tokens=whole.usage.output_tokens).finish == "stop"


def test_a_call_that_takes_too_long_is_a_timeout_and_the_next_one_works(
    engine: LlamaCpp, request_for: Callable[..., Request], ask: Ask
) -> None:
    long = request_for("word " * 1400, str, max_tokens=100, timeout=0.01)
    with pytest.raises(CallTimeout, match="did not answer within 0.01 s of its turn"):
        asyncio.run(engine.complete(long))
    Name.model_validate_json(ask("hi", Name).text)


def test_waiting_for_others_does_not_count_against_the_timeout(
    engine: LlamaCpp, request_for: Callable[..., Request]
) -> None:
    async def main() -> tuple[float, Completion]:
        first = asyncio.create_task(engine.complete(request_for("word " * 300, str, max_tokens=1)))
        await asyncio.sleep(0)
        alone = await first
        again = asyncio.create_task(engine.complete(request_for("drow " * 900, str, max_tokens=60)))
        await asyncio.sleep(0)
        short = await engine.complete(request_for("hi", str, max_tokens=1, timeout=alone.seconds))
        return (await again).seconds - alone.seconds, short

    longer, short = asyncio.run(main())
    assert longer > 0  # so the short one waited for longer than its timeout
    assert short.usage.output_tokens == 1


@pytest.mark.parametrize("size", [0, BATCH + 1])
def test_sizes_at_which_llama_cpp_aborts_are_refused(engine: LlamaCpp, size: int) -> None:
    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> None:
        for call in (
            lambda: model.context.extend([5] * size, 0, wanted=True),
            lambda: model.context.evaluate([Entry(5, i) for i in range(size)]),
        ):
            with pytest.raises(BackendError, match="tokens in one evaluation"):
                call()

    engine.call([Message("user", "hi")], 1, work)


def test_memory_for_prefixes_is_no_negative_number() -> None:
    with pytest.raises(FleetError, match="prefixes must be 0 or more"):
        LlamaCpp(embedded_path(), "m", prefixes=-1)
