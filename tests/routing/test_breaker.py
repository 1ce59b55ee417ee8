"""The circuit of a model: when it opens, for how long, who may try it, what closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.routing.breaker import FIRST, HALF, IN_A_ROW, LONGEST, MOST_ASKED, Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker("m", jitter=1.0)
    for _ in range(IN_A_ROW):
        breaker.failed(now, breaker.begin(), "unavailable")
    return breaker


def test_failures_in_a_row_open_it_and_it_says_for_how_long_and_why() -> None:
    breaker = Breaker("m", jitter=1.0)
    said = [breaker.failed(0.0, breaker.begin(), "calltimeout") for _ in range(IN_A_ROW)]
    assert said == [False] * (IN_A_ROW - 1) + [True]
    assert breaker.refusal(0.0) == f"m: its circuit is open for {FIRST:.1f} s more (calltimeout)"


def test_a_success_in_between_keeps_it_closed_until_half_of_the_last_ones_failed() -> None:
    breaker = Breaker("m")
    for number in range(HALF):
        assert breaker.refusal(0.0) == "", f"{number} failures among {2 * number} calls"
        breaker.succeeded()
        breaker.failed(0.0, False, "unavailable")
    assert "open" in breaker.refusal(0.0)


def test_after_its_time_one_call_may_try_and_no_second() -> None:
    breaker = opened()
    assert breaker.refusal(FIRST - 0.01)
    assert breaker.refusal(FIRST) == ""
    assert breaker.begin() is True
    assert "another call tries it" in breaker.refusal(FIRST)
    breaker.succeeded()
    assert breaker.refusal(FIRST) == "" and breaker.begin() is False


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_longest() -> None:
    breaker, now, lengths = opened(), 0.0, []
    for _ in range(5):
        assert breaker.until is not None
        lengths.append(breaker.until - now)
        now = breaker.until
        breaker.failed(now, breaker.begin(), "unavailable")
    assert lengths == pytest.approx([1.0, 2.0, 4.0, LONGEST, LONGEST])


def test_a_probe_that_was_cancelled_leaves_the_place_to_another() -> None:
    breaker = opened()
    breaker.abandoned(breaker.begin())
    assert breaker.refusal(FIRST) == ""


def test_what_began_before_it_opened_does_not_prolong_it_but_an_answer_closes_it() -> None:
    breaker = opened()
    until = breaker.until
    assert breaker.failed(0.9, False, "unavailable") is False and breaker.until == until
    breaker.succeeded()
    assert breaker.refusal(0.9) == ""


def test_a_closed_circuit_forgets_how_often_it_was_open() -> None:
    breaker = opened()
    breaker.begin()
    breaker.succeeded()
    for _ in range(IN_A_ROW):
        breaker.failed(10.0, False, "unavailable")
    assert breaker.until == pytest.approx(10.0 + FIRST)


def test_a_server_that_wants_to_be_left_alone_is_within_reason() -> None:
    breaker = Breaker("m", jitter=1.0)
    breaker.asked(0.0, 60.0, "the server asked for 60 s")
    assert breaker.until == 60.0
    breaker.asked(0.0, 1e9, "the server asked for long")
    assert breaker.until == MOST_ASKED


@given(st.lists(st.tuples(st.sampled_from(["call", "good", "bad", "gone"]), st.floats(0, 3)), max_size=80))
def test_while_it_is_open_at_most_one_call_is_out(events: list[tuple[str, float]]) -> None:
    breaker, now, probes = opened(), 0.0, 0
    for event, gap in events:
        now += gap
        if event == "call" and not breaker.refusal(now):
            probes += breaker.begin()
        elif probes and event != "call":
            probes -= 1
            if event == "good":
                breaker.succeeded()
            elif event == "bad":
                breaker.failed(now, True, "unavailable")
            else:
                breaker.abandoned(True)
        assert probes <= 1
