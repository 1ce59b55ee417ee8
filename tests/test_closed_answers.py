"""Closed questions: what may be asked, how options are called, and how an answer is read."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentfleet.closed import NONE_TEXT, questions_of
from agentfleet.errors import SchemaError
from agentfleet.schema import Abstain, Invalid, output_of


class Colour(Enum):
    RED = "r"
    DARK_BLUE = "db"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Ticket(BaseModel):
    urgent: bool
    team: Literal["sales", "support"] | None
    mood: Annotated[Literal[1, 2, 3], Field(description="1 is calm")] = Field(alias="tone", default=1)


def read(annotation: Any, text: str) -> Any:
    return output_of(annotation, where="t", closed=True).parse(text)


def texts(annotation: Any) -> list[str]:
    return [option.text for option in questions_of(annotation, "t")[0].options]


def test_options_and_kinds() -> None:
    assert texts(Literal["a", "b"]) == ["a", "b"]
    assert texts(Colour) == ["r", "db"]
    assert texts(Level) == ["LOW", "HIGH"]
    assert texts(bool | None) == ["yes", "no", NONE_TEXT]
    kinds = {kind: questions_of(kind, "t")[0].kind for kind in (bool, Level, Colour)}
    assert kinds == {bool: "bool", Level: "score", Colour: "choice"}
    assert questions_of(Literal[1, 2, 3], "t")[0].kind == "score"
    assert questions_of(Literal["a"] | bool, "t")[0].kind == "choice"


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Literal["refund", "other"], '"refund"', "refund"),
        (Literal["refund", "other"], "refund", "refund"),
        (Literal["refund", "other"], " Refund. ", "refund"),
        (Literal["U.S.", "E.U."], "U.S.", "U.S."),
        (Literal["1", "2"], "1", "1"),
        (Literal["a", "A"], "A", "A"),
        (Colour, '"db"', Colour.DARK_BLUE),
        (Level, "2", Level.HIGH),
        (Level, "high", Level.HIGH),
        (bool, "yes", True),
        (bool, "false", False),
        (bool | None, "null", None),
        (bool | None, NONE_TEXT, None),
        (Literal["a"] | None, "None", None),
    ],
)
def test_answers_are_read(annotation: Any, text: str, value: Any) -> None:
    found = read(annotation, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["maybe", "", "3", "[" * 100_000, "1e999", '{"a": 1}'])
def test_what_is_no_option_is_invalid_and_names_them(text: str) -> None:
    with pytest.raises(Invalid, match="is none of the options: refund, other"):
        read(Literal["refund", "other"], text)


def test_a_model_of_questions() -> None:
    output = output_of(Ticket, where="t", closed=True)
    assert [question.name for question in output.questions] == ["urgent", "team", "tone"]
    assert output.schema["required"] == ["urgent", "team", "tone"]
    found = output.parse('{"urgent": "yes", "team": null, "tone": 2}')
    assert (found.urgent, found.team, found.mood) == (True, None, 2)
    with pytest.raises(Invalid, match="missing: team, tone"):
        output.parse('{"urgent": true}')
    with pytest.raises(Invalid, match=r"team: 'legal' is none of the options"):
        output.parse('{"urgent": true, "team": "legal", "tone": 2}')
    with pytest.raises(Invalid, match="write a JSON object with urgent, team, tone"):
        output.parse("yes")


class Tuples(Enum):
    A = (1, 2)


class Empty(BaseModel):
    pass


class Mixed(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (str, "mood: str is open; classify answers Literal, Enum, bool"),
        (Mixed, "mood, field text: str is open"),
        (Empty, "mood: Empty has no fields to decide"),
        (Tuples, r"stands for \(1, 2\), no text or number"),
        (Literal["1", 1], "'1' would both be called|would both be called '1'"),
        (Literal["yes"] | bool, "would both be called 'yes'"),
        (Literal["a"] | Abstain, "a decision declines with None"),
        (Literal[tuple(range(256))], "256 options; at most 255"),
    ],
)
def test_what_cannot_be_decided_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        questions_of(annotation, "mood")
