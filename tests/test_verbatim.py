"""Verbatim fields: numbers and patterns found in the source, narrowed schemas, and answers that were made up."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, StringConstraints, create_model
from typing_extensions import TypedDict

from agentfleet.schema import Abstain, Verbatim, output_of
from agentfleet.verbatim import fields, narrow, numbers_in, source, ungrounded

OrderId = Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]


class Order(BaseModel):
    order_id: OrderId
    amount: Annotated[float, Field(ge=0), Verbatim()]


class Person(BaseModel):
    name: Annotated[str, Verbatim()]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("49.90 or 49,90", [49.9]),
        ("1.299,00 and 1,299.01", [1299.0, 1299.01]),
        ("1'250.- and CHF 1’251.00", [1250.0, 1251.0]),
        ("EUR49,90, 12€, US$13, kr.500", [49.9, 12.0, 13.0, 500.0]),
        ("1 299,00 zł", [1299.0]),
        ("$1,234,567.89", [1234567.89]),
        ("10.000.000", [10000000.0]),
        ("-5 and −6", [-5.0, -6.0]),
        ("20 % of (3) for 4,-", [20.0, 3.0, 4.0]),
        ("0.125 but 12.500", [0.125, 12500.0]),
        ("order AB-123456, a1, 7-B, v1.2.3", []),
        ("2026-11-25, 25.11.2026, 25/11/26, 10:30", []),
        ("call +49 30 1234567 or 030 1234567", []),
        ("DE89 3704 0044 0532 0130 00", []),
        ("ticket #204817, order no. 204817, No. 204817 or 0012345", []),
        ("no. 5, no 1250 EUR, Nr. 1250,50", [5.0, 1250.0, 1250.5]),
        ("at 14h30, 14:30, 14:30:15, 14.30 Uhr, 2 pm or 2:15pm", []),
        ("on 12.03.2025, 12. 3. 2025, 2025-03-12T14:30:00Z, 12-03-2025, 2025/03/12, am 12.3. um acht", []),
        ("12 March 2025, March 12, 2025, 12. März 2025, 5 May, the 3rd", []),
        ("49.12 May be much, 1.250 pm", [49.12, 1250.0]),
        ("(555) 123-4567, 555-123-4567, 555.123.4567, 06 12 34 56 78", []),
        ("card 4111 1111 1111 1111, host 192.168.0.1", []),
        ("https://example.org/t?id=55, ada12@example.org, 12AB34, 1Z999AA10123456784", []),
        ("5€100", [5.0, 100.0]),
        (
            "£49, 50€, 4,-€, 1\u2009250,00 and 1\u202f251,00 and 1\u00a0252,00",
            [49.0, 50.0, 4.0, 1250.0, 1251.0, 1252.0],
        ),
        ("", []),
    ],
)
def test_numbers_as_people_write_them(text: str, numbers: list[float]) -> None:
    assert numbers_in(text) == numbers


def in_style(amount: int, marks: tuple[str, str], cents: bool) -> str:
    """An amount in cents as people write it, with these marks for thousands and decimals."""
    whole = f"{amount // 100:,}".replace(",", marks[0])
    return f"{whole}{marks[1]}{amount % 100:02}" if cents else whole


MARKS = [
    ("", "."),
    ("", ","),
    (",", "."),
    (".", ","),
    ("'", "."),
    ("’", ","),
    (" ", ","),
    *((b, ",") for b in "\u00a0\u2009\u202f"),
]
ROUND = [
    *((mark, end) for mark in ("'", "’", "") for end in (".-", ",-", ".–")),
    *((mark, "") for mark in ("", ".", "'")),
]
AROUND = [
    ("", ""),
    *((money, "") for money in ("EUR", "EUR ", "CHF ", "£", "US$", "kr.")),
    ("", "€"),
    ("", " €"),
    ("", " zł"),
]
PROSE = [
    *(
        "please pay",
        "no",
        "and",
        "order AB-204817",
        "ticket #204817,",
        "on 12.03.2025",
        "at 14h30",
        "by 14:30",
        "today",
    ),
    *(
        "since 5 May 2025",
        "call +49 30 1234567,",
        "or 0800 123456,",
        "code 12AB34",
        "(see v1.2.3)",
        "from a12@example.org",
    ),
]
STYLES = st.one_of(
    st.tuples(st.integers(0, 10**11), st.sampled_from(MARKS)).map(lambda a: (a[0] / 100, in_style(*a, cents=True))),
    st.tuples(st.integers(0, 10**9), st.sampled_from(ROUND)).map(
        lambda a: (float(a[0]), in_style(a[0] * 100, a[1], cents=False) + a[1][1])
    ),
)


@given(
    STYLES,
    st.sampled_from(AROUND),
    *[st.lists(st.sampled_from(PROSE), max_size=3)] * 2,
    st.sampled_from(["", ".", ",", "!"]),
)
def test_every_way_to_write_an_amount_is_found_once_in_prose(
    written: tuple[float, str], around: tuple[str, str], before: list[str], after: list[str], stop: str
) -> None:
    amount, text = written
    prose = " ".join([*before, f"sum: {around[0]}{text}{around[1]}{stop}", *after])
    assert numbers_in(prose) == [amount], prose


@pytest.mark.parametrize("piece", ["a", "1", "1.", "-", " 1", "00 0-", "a.", "#1.", "+1 (", "1a", "AB12 ", "1'", "@a"])
def test_no_long_text_hangs_the_search(piece: str) -> None:
    numbers_in(piece * 100_000)


@given(st.text(max_size=200))
def test_no_text_breaks_the_search(text: str) -> None:
    numbers_in(text)
    narrow(output_of(Order, where="t"), [text])


def options(annotation: Any, *sources: str) -> Any:
    return narrow(output_of(annotation, where="t"), sources).output.schema


def test_fields_become_choices_among_what_the_source_holds() -> None:
    schema = options(Order, "XAB-1234567 no; AB-123456, AB-123456. CD-000001- yes, EF-000002-7 no", "49,90 or -5")
    assert schema["properties"]["order_id"] == {"enum": ["AB-123456", "CD-000001"]}
    assert schema["properties"]["amount"] == {"enum": [49.9]}


def test_only_the_marked_place_is_narrowed() -> None:
    class Line(BaseModel):
        amount: float

    class Bill(BaseModel):
        line: Line
        order: Order

    definitions = options(Bill, "AB-123456 7")["$defs"]
    assert definitions["Line"]["properties"]["amount"] == {"type": "number"}
    assert definitions["Order"]["properties"]["amount"] == {"enum": [7]}


def test_a_type_that_is_shared_at_every_level_is_looked_into_once() -> None:
    made: Any = Order
    for level in range(12):  # 4096 ways down to the order
        made = create_model(f"Level{level}", left=(made, ...), right=(list[made], ...))
    output = output_of(made, where="t")
    assert len(fields.marked_in(made)) <= 4
    found = narrow(output, ["AB-123456 for 5"])
    assert len(json.dumps(found.output.schema)) < 2 * len(json.dumps(output.schema))
    assert found.output.schema["$defs"]["Order"]["properties"]["order_id"] == {"enum": ["AB-123456"]}
    assert narrow(output, ["nothing"]).problem.endswith("order_id: nothing in the input fits")


def test_no_candidate_settles_or_abstains() -> None:
    settled = narrow(output_of(Order | None, where="t"), ["no id, 5"])
    assert (settled.settled, settled.value, settled.problem) == (True, None, "")
    for annotation in (Order, Order | Abstain):
        assert narrow(output_of(annotation, where="t"), ["no id, 5"]).problem == "order_id: nothing in the input fits"
    assert narrow(output_of(Order, where="t"), ["AB-123456 costs -5"]).problem == "amount: nothing in the input fits"


def test_a_field_that_may_be_absent_settles_nothing() -> None:
    class Mail(BaseModel):
        order: Order | None
        orders: list[Order]
        code: Annotated[str, Field(pattern=r"^\d{4}$")] | None = None
        amount: Annotated[float, Field(ge=0), Verbatim()] | None
        refunded: Annotated[float, Verbatim()] = 0.0

    found = narrow(output_of(Mail, where="t"), ["nothing here"])
    assert not found.settled
    assert not found.problem
    assert found.output.schema["properties"]["amount"] == {"enum": [None]}
    assert found.output.schema["properties"]["refunded"] == {"enum": [0.0]}
    assert ungrounded(found.output, Mail(order=None, orders=[], amount=None), ["nothing here"]) == ""


def test_a_union_of_models_is_not_settled_by_one_of_them() -> None:
    found = narrow(output_of(Order | Person, where="t"), ["Ada wrote"])
    assert not found.settled
    assert not found.problem


def test_whole_answers_and_lists() -> None:
    assert options(OrderId | None, "AB-123456") == {"enum": ["AB-123456", None]}
    assert options(OrderId, "AB-123456") == {"enum": ["AB-123456"]}
    assert narrow(output_of(OrderId | None, where="t"), ["none"]).settled
    assert options(list[OrderId], "AB-123456")["items"] == {"enum": ["AB-123456"]}
    assert output_of(OrderId, where="t").parse('"AB-123456"') == "AB-123456"


def test_candidates_fit_the_whole_type() -> None:
    class Sizes(BaseModel):
        whole: Annotated[int, Field(gt=1, lt=9), Verbatim()]
        exact: Annotated[Decimal, Field(le=2), Verbatim()]

    properties = options(Sizes, "1 2 2.5 9")["properties"]
    assert properties["whole"] == {"enum": [2]}
    assert properties["exact"] == {"enum": [1, 2]}


def test_other_ways_to_state_a_pattern() -> None:
    plain = Annotated[str, StringConstraints(pattern=r"\d{4}"), Verbatim()]
    assert options(plain, "1234 12345") == {"enum": ["1234"]}
    either = Annotated[str, Field(pattern=r"^A\d$|^B\d$"), Verbatim()]
    assert options(either, "A1 B2 C3") == {"enum": ["A1", "B2"]}
    dollars = Annotated[str, Field(pattern=r"^\d+\$"), Verbatim()]
    assert options(dollars, "give 5$.") == {"enum": ["5$"]}
    folded = Annotated[str, Field(pattern=r"(?i)^ab\d$"), Verbatim()]
    assert options(folded, "AB1 ab2") == {"enum": ["AB1", "ab2"]}
    address = Annotated[str, Field(pattern=r"^\S+@\S+$"), Verbatim()]
    assert options(address, "Write to bob@example.org.") == {"enum": ["bob@example.org"]}


def test_a_pattern_that_backtracks_for_ever_hangs_nothing() -> None:
    evil = Annotated[str, Field(pattern=r"^(a+)+b$"), Verbatim()]
    output = output_of(evil, where="t")
    for text in ("a" * 50_000, "a " * 20_000, "!a" * 20_000):
        narrow(output, [text])
    assert narrow(output, ["aaaab"]).output.schema == {"enum": ["aaaab"]}


def test_a_heavy_pattern_over_a_long_text_is_not_listed() -> None:
    heavy = Annotated[str, Field(pattern=r"^(?:.{1,40}.{1,40}){1,40}x$"), Verbatim()]
    output = output_of(heavy, where="t")
    assert narrow(output, ["ab cd ef gh ij " * 4_000]).output == output
    assert narrow(output, ["ab x"]).output.schema == {"enum": ["ab x"]}


def test_a_source_too_long_to_list_is_left_to_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_TRIES", 3)
    output = output_of(OrderId, where="t")
    assert narrow(output, ["a b c d AB-123456"]).output is not None
    assert ungrounded(output, "AB-123456", ["a b c d AB-123456"]) == ""
    assert ungrounded(output, "CD-123456", ["a b c d AB-123456"]) != ""


def test_what_was_made_up_is_named() -> None:
    output = output_of(Order | None, where="t")
    source = ["Order AB-123456 for 1.299,00"]
    assert ungrounded(output, Order(order_id="AB-123456", amount=1299), source) == ""
    assert ungrounded(output, None, source) == ""
    problem = ungrounded(output, Order(order_id="AB-123456", amount=1300), source)
    assert problem == "amount: '1300.0' does not stand in the input; copy it from there"
    assert ungrounded(output, Order(order_id="AB-123457", amount=1299), source).startswith("order_id: 'AB-123457'")
    assert ungrounded(output, Order(order_id="AB-123456", amount=5), ["XAB-1234567 5"]).startswith("order_id")


@pytest.mark.parametrize(
    ("name", "source", "stands"),
    [
        ("Ada Lovelace", "from Ada\n  Lovelace, London", True),
        ("Ada", "Adam and Adalbert", False),
        ("Ada", "Adam and Ada", True),
        ("", "anything", False),
        ("東京", "東京都に行く", True),
        ("José", "José", True),
    ],
)
def test_free_text_stands_as_whole_words(name: str, source: str, stands: bool) -> None:
    assert (ungrounded(output_of(Person, where="t"), Person(name=name), [source]) == "") is stands


@dataclass
class Note:
    author: Annotated[str, Verbatim()]


class Row(TypedDict):
    author: Annotated[str, Verbatim()]


def test_containers_are_looked_into() -> None:
    made_up = {
        "0.name": (list[Person], [Person(name="Bob")]),
        "0": (list[Annotated[str, Verbatim()]], ["Bob"]),
        "k": (dict[str, Annotated[str, Verbatim()]], {"k": "Bob"}),
        "k.name": (dict[str, Person], {"k": Person(name="Bob")}),
        "1": (tuple[str, Annotated[str, Verbatim()]], ("x", "Bob")),
        "author": (Row, {"author": "Bob"}),
        "the value": (Annotated[str, Verbatim()], "Bob"),
    }
    for place, (annotation, value) in made_up.items():
        output = output_of(annotation, where="t")
        assert ungrounded(output, value, ["only Ada"]).startswith(f"{place}: 'Bob'"), place
        assert ungrounded(output, value, ["Bob it is"]) == ""
    assert ungrounded(output_of(Note, where="t"), Note("Bob"), ["only Ada"]).startswith("author")


def test_compiled_patterns_and_aliases() -> None:
    class Coded(BaseModel):
        code: Annotated[str, StringConstraints(pattern=re.compile(r"^x\d$", re.IGNORECASE)), Verbatim()] = Field(
            alias="the_code"
        )

    class Renamed(BaseModel):
        code: OrderId = Field(validation_alias=AliasChoices("number", "code"))

    assert options(Coded, "X1 x2")["properties"]["the_code"]["enum"] == ["X1", "x2"]
    assert options(Renamed, "AB-123456")["properties"]["number"] == {"enum": ["AB-123456"]}


# -- free text: a choice among the pieces of a short source --------------------------------------------------------------
