"""The endpoint as OpenAI's own SDK and agentfleet's backend for it see it: constrained JSON, streams, usage."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field
from serve.endpoint import Endpoint

from agentfleet import ask, classify, extract
from agentfleet.fleet.model import Fleet, Model
from agentfleet.ledger.open import open_ledger
from agentfleet.runtime.session import Session

pytestmark = [pytest.mark.real_model, pytest.mark.server]

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
ASKED: Any = [{"role": "user", "content": "Anna is 31 years old. Who is it?"}]


@pytest.fixture
def client(endpoint: Endpoint) -> Any:
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="any", max_retries=0) as found:
        yield found


def test_json_keeps_to_its_schema(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="smollm2", messages=ASKED, response_format=FORM, max_tokens=60)
    assert set(json.loads(done.choices[0].message.content or "")) == {"name", "age"}
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None and done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_a_pydantic_class_is_parsed_by_the_sdk(client: openai.OpenAI) -> None:
    class Colour(BaseModel):
        colour: Literal["red", "green"]

    done = client.chat.completions.parse(model="smollm2", messages=ASKED, response_format=Colour, max_tokens=30)
    assert done.choices[0].message.parsed is not None
    assert done.choices[0].message.parsed.colour in ("red", "green")


def test_any_object_is_an_object(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_object"}
    done = client.chat.completions.create(model="smollm2", messages=ASKED, response_format=form, max_tokens=200)
    text = done.choices[0].message.content or ""
    assert text.startswith("{")
    assert done.choices[0].finish_reason == "length" or isinstance(json.loads(text), dict)


@pytest.mark.parametrize("form", [FORM, {"type": "text"}], ids=["json", "text"])
def test_a_stream_gives_the_same_text_as_one_answer(client: openai.OpenAI, form: Any) -> None:
    more: Any = {"model": "smollm2", "messages": ASKED, "response_format": form, "max_tokens": 40, "temperature": 0}
    whole = client.chat.completions.create(**more)
    stream = list(client.chat.completions.create(**more, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert any(pieces)  # how many depends on how fast it writes
    assert [chunk.choices[0].finish_reason for chunk in stream if chunk.choices][-1] == whole.choices[0].finish_reason
    assert stream[-1].usage is not None and whole.usage is not None
    assert stream[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_seed_repeats_and_another_differs(client: openai.OpenAI) -> None:
    def told(seed: int) -> str:
        asked: Any = [{"role": "user", "content": "Tell me a story about a fox."}]
        more: Any = {"model": "smollm2", "messages": asked, "max_tokens": 24, "temperature": 1.5}
        return client.chat.completions.create(**more, seed=seed).choices[0].message.content or ""

    assert told(1) == told(1)
    assert len({told(seed) for seed in (1, 2, 3)}) > 1


def test_what_was_read_before_is_not_read_again(client: openai.OpenAI) -> None:
    turns: Any = [{"role": "system", "content": "You know all about foxes, badgers and hedgehogs."}, *ASKED]
    done = client.chat.completions.create(model="smollm2", messages=turns, max_tokens=4)
    more: Any = [*turns, {"role": "assistant", "content": done.choices[0].message.content}, *ASKED]
    again = client.chat.completions.create(model="smollm2", messages=more, max_tokens=4)
    assert done.usage is not None and again.usage is not None and again.usage.prompt_tokens_details is not None
    assert (again.usage.prompt_tokens_details.cached_tokens or 0) > 20


def test_the_list_of_models_names_it_and_its_context(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == ("smollm2", "agentfleet")
    assert client.models.retrieve("smollm2").model_extra == {
        "max_model_len": 4096,
        "sha256": model.model_extra["sha256"],
    }


def test_the_sdk_raises_its_typed_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.chat.completions.create(model="gpt", messages=ASKED)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="smollm2", messages=ASKED, temperature=9)
    assert caught.value.param == "temperature"


# -- agentfleet's own backend --------------------------------------------------------------------------------------------


class Person(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=99)


@extract(tier="small")
def person(text: str) -> Person:
    """Who is it, and how old?"""
    return ask(text)


@classify(tier="small")
def mood(text: str) -> Literal["glad", "angry"]:
    """How does the writer feel?"""
    return ask(text)


def test_a_fleet_uses_it_as_any_openai_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    far = Model(name="far", backend="openai", model="smollm2", base_url=f"{endpoint.url}/v1", tier="small")
    session = Session(Fleet([far]), open_ledger(":memory:", tmp_path), root=tmp_path)
    try:
        run = session.run(person, {"text": "Anna is 31 years old."})
        assert isinstance(run.value, Person)
        ((_, attempt),) = run.attempts
        assert (attempt.model, attempt.outcome.value) == ("far", "valid")
        assert attempt.usage.input_tokens > 10 and attempt.usage.output_tokens > 3
        assert session.run(mood, {"text": "I am so happy!"}).value in ("glad", "angry")
    finally:
        session.close()


def test_many_at_once_are_all_answered(endpoint: Endpoint) -> None:
    async def all_of_them() -> list[Any]:
        client = openai.AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key="any", max_retries=0)
        async with client:
            more: Any = {"model": "smollm2", "messages": ASKED, "response_format": FORM, "max_tokens": 60}
            return await asyncio.gather(*(client.chat.completions.create(**more) for _ in range(6)))

    texts = [done.choices[0].message.content or "" for done in asyncio.run(all_of_them())]
    assert [set(json.loads(text)) for text in texts] == [{"name", "age"}] * 6
