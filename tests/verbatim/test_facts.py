"""What a summary states is looked up in its source: numbers, dates, times, codes, addresses, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.verbatim.facts import NAMED, facts_in, unstated
from agentfleet.verbatim.words import counts_in

SOURCE = """Hello, order AB-123456 of 12 March 2025 cost 1.299,00 EUR. The first lamp came three weeks ago, the second on
25/11/2025 at 14:30, with 12 screws. Call +49 30 1234567 or write to ada@example.org. Ticket no. 204817, serial 3X7-B.
I am out 20 % and paid 5-10 EUR more. Until 12 de abril! See https://example.org/t?id=55."""


@pytest.mark.parametrize(
    "text",
    [
        "Order AB-123456, ab 123456 or AB123456",
        "1299 EUR, 1,299.00 EUR, €1'299.-",
        "12.03.2025, 2025-03-12, March 12, 2025, 12. März, 12 mars 2025, the 12th, 12 April",
        "In 2025 on 25 November, from 12.03. to 25.11.",
        "3 weeks ago",
        "a 12-screw bag",
        "at 14:30, 2:30 pm, 14.30 Uhr",
        "ticket #204817, ticket 204817",
        "ada@example.org, +49 30/1234567, 3x7-b",
        "20% or 20 percent; 5 to 10 EUR",
        "https://example.org/t?id=55",
        "nothing that could be looked up",
        "",
    ],
)
def test_what_the_source_says_in_another_form_stands(text: str) -> None:
    assert unstated([text], [SOURCE]) == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("order AB-123457", "'AB-123457'"),
        ("order CD-123456", "'CD-123456'"),
        ("1299.50 EUR", "'1299.50'"),
        ("€5,000 back", "'5,000'"),
        ("12 March 2024", "'12 March 2024'"),
        ("13 March", "'13 March'"),
        ("on 13.03.", "'13.03'"),
        ("12 May", "'12 May'"),
        ("25 April 2026", "'25 April 2026'"),
        ("12 April 2026", "'12 April 2026'"),
        ("4 weeks", "'4'"),
        ("a 7-year warranty", "'7-year'"),
        ("49 lamps", "'49'"),
        ("3:30 pm", "'3:30 pm'"),
        ("#204818", "'204818'"),
        ("bob@example.org", "'bob@example.org'"),
        ("https://example.org/t?id=56", "'https://example.org/t?id=56'"),
        ("+49 30 7654321", "'+49 30 7654321'"),
        ("6-10 EUR", "'6'"),
    ],
)
def test_what_no_source_says_is_named(text: str, named: str) -> None:
    assert unstated([text], [SOURCE]).startswith(named)


def test_every_source_counts_and_only_what_is_strange_is_named() -> None:
    assert (
        unstated(["7 and 8 and 9"], ["7", "9"]) == "'8' does not stand in the input; leave it out, or copy it exactly"
    )
    many = unstated([" ".join(str(n) for n in range(20, 40))], [""])
    assert many.count("'") == 2 * NAMED and many.endswith("do not stand in the input; leave it out, or copy it exactly")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Three lamps, both broken", {2, 3}),
        ("Zwölf, fünf", {12, 5}),
        ("trois", {3}),
        ("lamps", set()),
        ("oneself", set()),
    ],
)
def test_counts_in_words(text: str, counts: set[float]) -> None:
    assert counts_in(text) == counts


@given(st.text(max_size=200))
def test_a_text_states_nothing_that_it_does_not_say_itself(text: str) -> None:
    assert unstated([text], [text]) == ""


@pytest.mark.parametrize("piece", ["1", "1.", "a", "1 May ", "1-", "12:30 ", "a1-", "1,", "AB-1 "])
def test_no_long_text_hangs_the_search(piece: str) -> None:
    text = piece * 30_000
    assert unstated(["AB-777777 on 3 May at 9:17"], [text]) != ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1. It is late.\n2. She is angry.", []),
        ("(1) late\n(2) angry\n(3) 4 weeks", ["4"]),
        ("1. It is late.", ["1"]),
        ("2. It is late.\n3. She is angry.", ["2", "3"]),
        ("12 lamps\n13 chairs", ["12", "13"]),
    ],
)
def test_the_numbers_of_a_list_state_nothing(text: str, found: list[str]) -> None:
    assert [fact.text for fact in facts_in(text)] == found
