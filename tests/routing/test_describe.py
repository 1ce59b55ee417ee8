"""What a request is like: its schema, its signals, its size. Every signal that a rule may name is found somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agentfleet.fleet.model import Model
from agentfleet.fleet.rules import SIGNALS
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.describe import Description, Features, features_of
from agentfleet.schema import output_of


@dataclass
class Line:
    part: str
    count: int


@dataclass
class Order:
    number: str
    lines: list[Line]
    how: Literal["post", "van"]


@dataclass
class Tree:
    name: str
    below: list[Tree]


def described(text: str, returns: Any = str, closed: bool = False) -> Description:
    output = output_of(returns, where="s", closed=closed)
    return Description("s", "extract", "g", Prompt("Do it.", (Block("mail", text),)), output)


def test_features_of_answers() -> None:
    assert features_of(output_of(str, where="s")) == Features("text", free=True)
    assert features_of(output_of(Literal["a", "b"], where="s", closed=True)) == Features(
        "closed", options=2, fields=1, depth=1
    )
    order = features_of(output_of(Order, where="s"))
    assert order == Features("json", options=2, fields=5, depth=3, lists=True, free=True)


def test_a_type_that_holds_itself_has_features_too() -> None:
    schema = {
        "$defs": {"T": {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}},
        "$ref": "#/$defs/T",
    }
    output = output_of(Order, where="s")
    found = features_of(type(output)("json", Order, schema))
    assert (found.fields, found.depth, found.lists) == (1, 2, True)


HARD = {
    "long": described("word " * 3000),
    "code": described("def f(x):\n    return x\nimport os\n"),
    "numbers": described("12 and 14.5, 20, 33 or 7; 9 and 1.000 of them"),
    "table": described("a | b | c\n1 | 2 | 3\n4 | 5 | 6\n"),
    "questions": described("Where? When? How much?"),
    "thread": described("see below\n> one\n> two\n> three"),
    "wide": described("x", Literal[tuple(f"o{i}" for i in range(25))], closed=True),
    "nested": described("x", Order),
    "list": described("x", list[str]),
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_each_signal_is_found_where_it_is(signal: str) -> None:
    assert signal in HARD[signal].signals


def test_a_plain_mail_has_no_signals() -> None:
    text = "Hello, my parcel AB-1234 came on 3 May and is broken; what can be done? Thanks, Ann"
    assert described(text).signals == frozenset()
    assert described(text).language == "en"


def test_a_hosted_model_reads_the_schema_too() -> None:
    wanted = described("Hello", Order)
    local, hosted = (Model(name="m", backend=b, model="m") for b in ("llama_cpp", "openai"))
    assert (wanted.size(local), wanted.size(local, 7)) == (wanted.tokens, 7)
    assert wanted.size(hosted, 7) == 7 + wanted.schema_tokens > 50
    assert described("Hello", str).schema_tokens == 0


def test_a_description_says_that_its_tokens_are_estimated() -> None:
    found = described("Hello there, how are you?").to_json()
    assert found["tokens_are"] == "estimated"
    assert 0 < found["tokens"] < 60
    assert found["modalities"] == ["text"]
