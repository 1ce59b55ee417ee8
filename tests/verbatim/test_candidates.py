"""What a Verbatim field may hold: runs of words, copies of a long source, what the user's own code finds."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from agentfleet.decoding import COPIED
from agentfleet.errors import SchemaError
from agentfleet.schema import Verbatim, output_of
from agentfleet.verbatim import fields, narrow, source, ungrounded


class Person(BaseModel):
    name: Annotated[str, Verbatim()]


class Guest(BaseModel):
    name: Annotated[str, Verbatim()] | None
    day: Annotated[str, Field(max_length=8), Verbatim()]


def offered(part: dict[str, Any], root: dict[str, Any]) -> list[Any]:
    if "$ref" in part:
        return offered(root["$defs"][part["$ref"].rsplit("/", 1)[-1]], root)
    return list(part.get("enum", ())) + [value for other in part.get("anyOf", ()) for value in offered(other, root)]


def test_free_text_is_a_choice_among_whole_words() -> None:
    schema = narrow(output_of(Person, where="t"), ["Ada  came\nat 8."]).output.schema
    assert offered(schema["properties"]["name"], dict(schema)) == [
        "Ada", "Ada came", "Ada came at", "Ada came at 8", "came", "came at", "came at 8", "at", "at 8", "8",
    ]  # fmt: skip


def test_many_pieces_stand_once_and_none_is_still_a_choice() -> None:
    schema = narrow(output_of(Guest, where="t"), ["Ada Byron came by on a Friday"]).output.schema
    name = offered(schema["properties"]["name"], dict(schema))
    assert {"Ada Byron", "a Friday", None} <= set(name)
    day = offered(schema["properties"]["day"], dict(schema))
    assert "a Friday" in day and "Ada Byron" not in day  # nine characters


def test_hosts_get_the_schema_without_the_pieces() -> None:
    output = output_of(Person, where="t")
    narrowed = narrow(output, ["Ada came"]).output
    assert narrowed.schema != output.schema
    assert narrowed.wide == output.schema


@pytest.mark.parametrize("text", ["word " * 3 + " ".join(map(str, range(60))), "東京で会いましょう"])
def test_free_text_that_cannot_be_listed_is_to_be_copied(text: str) -> None:
    output = output_of(Person, where="t")
    narrowed = narrow(output, [text]).output
    copied = {"type": "string", "maxLength": 400, COPIED: [text.strip()]}
    assert narrowed.schema["properties"]["name"] == {"$ref": "#/$defs/verbatim"}
    assert narrowed.schema["$defs"] == {"verbatim": copied}
    assert narrowed.wide == output.schema
    guest = narrow(output_of(Guest, where="t"), [text]).output.schema
    assert guest["properties"]["name"] == {"anyOf": [{"$ref": "#/$defs/verbatim"}, {"enum": [None]}]}
    whole = narrow(output_of(Annotated[str, Verbatim()] | None, where="t"), [text]).output.schema
    assert whole["anyOf"] == [{"$ref": "#/$defs/verbatim"}, {"enum": [None]}] and set(whole) == {"anyOf", "$defs"}


def test_a_source_too_long_to_copy_from_is_left_to_the_check() -> None:
    output = output_of(Person, where="t")
    assert narrow(output, ["word " * fields.MOST_COPIED]).output == output


def test_an_empty_source_holds_no_text() -> None:
    assert narrow(output_of(Person, where="t"), ["?!"]).problem == "name: nothing in the input fits"


@given(st.lists(st.text(alphabet="ab -.,'1(é\n", max_size=12), min_size=1, max_size=3))
def test_every_piece_that_is_offered_stands(texts: list[str]) -> None:
    output = output_of(Person, where="t")
    for piece in source.Source(texts).pieces(None) or ():
        assert ungrounded(output, Person(name=piece), texts) == ""


def test_nothing_reaches_from_one_input_into_the_next() -> None:
    output = output_of(Person, where="t")
    texts = ["booked by Ada", "Byron Street"]
    assert "Ada Byron" not in (source.Source(texts).pieces(None) or ())
    assert ungrounded(output, Person(name="Ada Byron"), texts) != ""
    assert source.Source(["AB", "123456"]).matching(r"^[A-Z]{2}\s\d{6}$") == []


def euros(text: str) -> list[float]:
    return [float(found.replace(",", ".")) for found in re.findall(r"(\d+(?:,\d\d)?) ?€", text)]


class Bill(BaseModel):
    total: Annotated[float, Field(le=500), Verbatim(euros)]
    tips: list[Annotated[float, Verbatim(euros)]] = []


def test_code_finds_the_candidates() -> None:
    text = "on the 12th 48 guests paid 159,90 € and 20 €, not 900 €"
    properties = narrow(output_of(Bill, where="t"), [text]).output.schema["properties"]
    assert properties["total"] == {"enum": [159.9, 20]}
    assert properties["tips"]["items"] == {"enum": [159.9, 20, 900]}
    output = output_of(Bill, where="t")
    assert ungrounded(output, Bill(total=20, tips=[159.9]), [text]) == ""
    assert ungrounded(output, Bill(total=48), [text]).startswith("total: '48.0' does not stand")
    assert narrow(output, ["48 guests"]).problem == "total: nothing in the input fits"
    assert Verbatim(euros) == Verbatim(euros) != Verbatim()


@pytest.mark.parametrize(
    ("found_by", "said"),
    [
        (lambda text: 1 / 0, "ZeroDivisionError"),
        (lambda text: [[]], "unhashable"),
        (lambda text, more: [], "TypeError"),
    ],
)
def test_a_finder_that_breaks_is_named(found_by: Any, said: str) -> None:
    kind = create_model("Kind", it=(Annotated[str, Verbatim(found_by)], ...))
    with pytest.raises(SchemaError, match=f"lambda.*which finds what a Verbatim field may hold, raised.*{said}"):
        narrow(output_of(kind, where="t"), ["text"])
