"""Strings that must be copied from a text: what the grammar takes of them, inside the JSON of a schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Request
from agentfleet.backends.llama_cpp import LlamaCpp
from agentfleet.backends.llama_cpp.copied import Inexpressible, holds_copies, lark_of, without_copies
from agentfleet.backends.llama_cpp.grammar import Grammars
from agentfleet.decoding import COPIED
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Output, Verbatim, output_of
from agentfleet.verbatim import narrow, ungrounded

TEXT = 'We said "hi" to Ada Byron-King, b\\c 東京都. ' + " ".join(f"Guest{number} came." for number in range(200))


class Visit(BaseModel):
    who: Annotated[str, Field(max_length=40), Verbatim()]
    year: int


class Book(BaseModel):
    host: Annotated[str, Verbatim()] | None
    visits: list[Visit] = Field(max_length=3)
    next: Book | None
    note: str


@pytest.fixture(scope="module")
def grammars(engine: LlamaCpp) -> Iterator[Grammars]:
    yield Grammars(engine.weights)


def narrowed(annotation: Any, *texts: str) -> Output:
    return narrow(output_of(annotation, where="t"), texts).output


def takes(grammars: Grammars, schema: Any, data: Any) -> bool:
    """Does the grammar take exactly this as a whole answer?"""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    matcher = grammars.of_schema(schema)._matcher
    tokens = grammars._weights.tokens(text, special=False)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


def test_a_run_of_whole_words_of_the_text_and_nothing_else(grammars: Grammars) -> None:
    schema = narrowed(Visit, TEXT, "another part").schema
    for who in ("Ada", 'said "hi" to', "Ada Byron-King, b\\c", "京", "Guest7 came.", "another part", "."):
        assert takes(grammars, schema, {"who": who, "year": 5}), who
    for who in (
        "Adam",
        "da",
        "Byron",
        "King",
        " Ada",
        "Ada ",
        "",
        "came. another",
        "Guest7  came",
        "Ada Guest7",
        "x" * 50,
    ):
        assert not takes(grammars, schema, {"who": who, "year": 5}), who
    assert not takes(grammars, schema, {"who": " ".join(TEXT.split()[1:20]), "year": 5})  # longer than 40 characters
    assert not takes(grammars, schema, '{"who":"said \\","year":5}')
    assert not takes(grammars, schema, {"who": None, "year": 5}) and not takes(grammars, schema, {"who": "Ada"})


def test_lists_alternatives_and_types_that_hold_themselves(grammars: Grammars) -> None:
    schema = narrowed(Book, TEXT).schema
    visit = {"who": "Ada", "year": 1}
    empty = {"host": None, "visits": [], "next": None, "note": "anything at all"}
    for book in (
        empty,
        {**empty, "host": "Guest1", "visits": [visit] * 3},
        {**empty, "next": {**empty, "visits": [visit]}},
    ):
        assert takes(grammars, schema, book), book
    for change in (
        {"visits": [visit] * 4},
        {"visits": [{"who": "Eve", "year": 1}]},
        {"next": {**empty, "host": "Eve"}},
    ):
        assert not takes(grammars, schema, {**empty, **change}), change
    assert takes(grammars, narrowed(list[Annotated[str, Verbatim()]], TEXT).schema, ["Ada", "Guest1"])
    assert takes(grammars, narrowed(Annotated[str, Verbatim()] | None, TEXT).schema, "null")


def test_a_copy_where_lark_cannot_go_may_be_anything(grammars: Grammars) -> None:
    schema = narrowed(dict[str, Visit], TEXT).schema
    copied = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 5, COPIED: ["Ada"]}}
    assert not holds_copies(schema) and holds_copies(copied) and not holds_copies(without_copies(copied))
    with pytest.raises(Inexpressible):
        lark_of(copied)
    assert takes(grammars, copied, {"a": "Eve"})


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet='ab "\\-.\n\x07é京\ud800{}%/', min_size=1, max_size=40), st.integers(0, 39), st.integers(1, 12))
def test_no_text_breaks_the_grammar(grammars: Grammars, text: str, start: int, length: int) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", COPIED: [" ".join(text.split()) or "x"]}}}
    constraint = grammars.of_schema({**schema, "required": ["a"], "additionalProperties": False})
    assert constraint.forced() or not constraint.done
    takes(grammars, schema, {"a": text[start : start + length].encode("utf-8", "replace").decode()})


def test_grammars_with_a_text_are_not_kept(grammars: Grammars) -> None:
    before = len(grammars._compiled), len(grammars._schemas)
    grammars.of_schema(narrowed(Visit, TEXT).schema)
    assert (len(grammars._compiled), len(grammars._schemas)) == before


@pytest.mark.real_model
def test_what_the_model_writes_stands_in_the_text(engine: LlamaCpp) -> None:
    output = narrowed(Visit, TEXT)
    prompt = Prompt("Who came, and in which year? Copy the name.", (Block("text", TEXT[:400]),))
    reply = asyncio.run(engine.complete(Request(prompt, output, max_tokens=60)))
    assert ungrounded(output, output.parse(reply.text), [TEXT]) == ""
