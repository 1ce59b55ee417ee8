"""Where the values of Verbatim fields stand in the source, in characters of the source as it was given."""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentfleet.schema import Verbatim, output_of
from agentfleet.verbatim import evidence, unsaid
from agentfleet.verbatim.folding import folded, origins
from agentfleet.verbatim.held import MOST_SPANS

OrderId = Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]


class Line(BaseModel):
    amount: Annotated[float, Verbatim()]
    what: str = ""


class Order(BaseModel):
    order_id: OrderId
    who: Annotated[str, Verbatim()] | None = None
    lines: list[Line] = []
    tags: Annotated[list[str], Verbatim()] = []


def quoted(annotation: Any, value: Any, *sources: str) -> dict[str, list[str]]:
    found = evidence(output_of(annotation, where="t"), value, sources)
    return {path: [sources[part][start:end] for part, start, end in places] for path, places in found.items()}


def test_a_value_is_found_as_it_is_written() -> None:
    mail = "Jose\u0301\n  Ada: AB-123456 for 49,90 EUR and 1.299,00"
    order = Order(
        order_id="AB-123456",
        who="José Ada",
        lines=[Line(amount=1299), Line(amount=49.9, what="x")],
        tags=["EUR", "for"],
    )
    assert quoted(Order, order, "no", mail) == {
        "order_id": ["AB-123456"],
        "who": ["Jose\u0301\n  Ada"],
        "lines.0.amount": ["1.299,00"],
        "lines.1.amount": ["49,90"],
        "tags.0": ["EUR"],
        "tags.1": ["for"],
    }


def test_every_place_up_to_a_bound_and_no_piece_of_a_longer_code() -> None:
    assert evidence(output_of(OrderId, where="t"), "AB-123456", ["AB-123456-7, AB-123456", "AB-123456"]) == {
        "": [(0, 13, 22), (1, 0, 9)]
    }
    assert len(quoted(Annotated[int, Verbatim()], 5, "5 " * 50)[""]) == MOST_SPANS


def test_what_stands_nowhere_has_no_place() -> None:
    class Bill(BaseModel):
        paid: Annotated[float, Verbatim()] = 0.0
        gross: Annotated[bool, Verbatim()] = True

    assert quoted(Bill, Bill(), "7") == {"paid": [], "gross": []}
    assert quoted(Order | None, None, "7") == {}
    assert quoted(list[str], ["x"], "x") == {}


@given(st.text(alphabet="ae\u0301\u0308 \n\tÅ한\u1112\u1161\u11abI\u0130ﬁ", max_size=30))
def test_folding_remembers_where_it_came_from(text: str) -> None:
    plain, spans = origins(text)
    assert plain == folded(text) and len(spans) == len(plain)
    for sign, (start, end) in zip(plain, spans, strict=True):
        piece = unicodedata.normalize("NFC", text[start:end])
        assert sign in piece or (sign == " " and any(other.isspace() for other in piece))


class Mood(Enum):
    BAD = "level 2"


class Report(BaseModel):
    text: str
    points: list[str]
    plan: Literal["plan 9", "plan 10"]
    mood: Mood
    score: int


@pytest.mark.parametrize(("text", "point", "named"), [("5 lamps", "", "'5'"), ("", "AB-1", "'AB-1'"), ("2", "3", "")])
def test_all_texts_of_a_summary_are_held_to_the_source(text: str, point: str, named: str) -> None:
    report = Report(text=text, points=["fine", point], plan="plan 9", mood=Mood.BAD, score=7)
    found = unsaid(output_of(Report, where="t"), report, ["2 or 3"])
    assert found.startswith(named) and bool(found) is bool(named)
