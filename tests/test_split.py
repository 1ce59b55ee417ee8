"""Long texts in parts: where they are cut, what is asked of a part, how the answers are put together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentfleet.errors import SchemaError
from agentfleet.schema import Abstain, Verbatim, output_of
from agentfleet.split import OVERLAP, Found, cut, join, part_output, shape_of


def pieces(text: str, size: int) -> list[str]:
    return [text[start:end] for start, end in cut(text, size)]


def test_cuts_at_paragraphs_then_sentences_then_words() -> None:
    assert pieces("short", 100) == ["short"]
    first = pieces("one two.\n\nthree four. five six seven", 26)[0]
    assert first == "one two.\n\nthree four. " or first == "one two.\n\n"
    assert pieces("aaa bbb. ccc ddd eee fff", 14)[0] == "aaa bbb. "
    assert pieces("aaa bbb ccc ddd eee fff", 10)[0] == "aaa bbb "
    assert pieces("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 7]


@given(st.text(alphabet="ab .\n!", max_size=300), st.integers(2, 60))
def test_nothing_is_lost_and_no_part_is_too_long(text: str, size: int) -> None:
    spans = cut(text, size)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(end - start <= size for start, end in spans)
    for (start, end), (after, _) in zip(spans, spans[1:], strict=False):
        assert start < after <= end and end - after <= size * OVERLAP + 1


class Line(BaseModel):
    code: str
    price: float


class Bill(BaseModel):
    number: Annotated[str, Field(pattern=r"^B\d+$"), Verbatim()] = Field(alias="no", description="its number")
    guest: str | None
    lines: list[Line] = []


@dataclass
class Note:
    author: str
    year: int = 2000


class Row(TypedDict):
    name: str


def of(*data: Any) -> list[Found]:
    return [Found(number, one) for number, one in enumerate(data, start=1)]


def joined(annotation: Any, *found: Found) -> tuple[Any, str]:
    text, problem = join(annotation, shape_of(annotation, "t"), found)
    return json.loads(text), problem


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [(list[Line] | None, "list"), (Bill | Abstain, "fields"), (Note, "fields"), (Row, "fields"), (str, "value")],
)
def test_shapes(annotation: Any, shape: str) -> None:
    assert shape_of(annotation, "t") == shape
    assert part_output(annotation, "t").kind == "json"


@pytest.mark.parametrize("annotation", [Bill | Note, dict[str, int], tuple[int, int]])
def test_what_cannot_be_put_together_is_refused(annotation: Any) -> None:
    with pytest.raises(SchemaError, match="t: split=True puts together"):
        part_output(annotation, "t")


def test_a_part_may_lack_every_field_and_keeps_their_rules() -> None:
    output = part_output(Bill | None, "t")
    assert output.parse('{"no": null, "guest": null, "lines": null}').guest is None
    assert output.parse('{"no": "B7", "guest": "Ada", "lines": []}').number == "B7"
    assert output.schema["properties"]["no"]["description"] == "its number"
    with pytest.raises(ValueError, match="no"):
        output.parse('{"no": "7", "guest": null, "lines": null}')


def test_fields_come_from_the_first_part_that_holds_them() -> None:
    value, problem = joined(Bill, *of({"no": None, "guest": "Ada  L."}, {"no": "B1", "guest": ""}, {"guest": "Ada L."}))
    assert (value, problem) == ({"no": "B1", "guest": "Ada  L."}, "")
    assert output_of(Bill, where="t").parse(json.dumps(value)).lines == []
    assert joined(Note, *of({"author": "x", "year": None})) == ({"author": "x"}, "")


def test_fields_that_contradict_each_other_are_named_with_both_values() -> None:
    value, problem = joined(Bill, *of({"no": "B1"}, {"no": None}, {"no": "B2", "guest": "Ada"}))
    assert value == {"no": "B1", "guest": "Ada"}
    assert problem == 'number is "B1" in part 1 and "B2" in part 3; only one of them can be meant'
    assert joined(int, *of(1, None, 2))[1] == "the value is 1 in part 1 and 2 in part 3; only one of them can be meant"


def test_where_nothing_was_found_the_type_says_how() -> None:
    assert joined(Bill | None, *of({"no": None}, {})) == (None, "")
    assert joined(Bill | Abstain, *of({})) == ({"abstain": True}, "")
    assert joined(Bill, *of({})) == ({"guest": None}, "")
    assert joined(list[int] | None) == ([], "") and joined(int | None, *of(None)) == (None, "")


def test_lists_are_one_after_the_other_and_overlaps_stand_once() -> None:
    bell, horn = {"code": "bell", "price": 9.0}, {"code": "horn", "price": 4.5}
    first = Found(1, [horn, bell], "", "horn 4,50 bell 9.00")
    overlap = Found(2, [bell, horn], "bell 9.00", "bell 9.00 horn 4.50")
    assert joined(list[Line], first, overlap) == ([horn, bell, horn], "")  # the second horn is another one
    assert joined(list[Line], first, Found(3, [bell], "bell 9.00", "bell 9.00")) == ([horn, bell, bell], "")
    twice = Found(2, [bell, bell], "bell 9.00", "bell 9.00 bell 9.00")
    assert joined(list[Line], first, twice) == ([horn, bell, bell], "")
    held = [Found(one.number, {"no": "B1", "lines": one.data}, one.before, one.text) for one in (first, overlap)]
    assert joined(Bill, *held)[0]["lines"] == [horn, bell, horn]
