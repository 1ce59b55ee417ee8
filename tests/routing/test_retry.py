"""When the same request is sent again, after how long, and when the budget says no."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.errors import BackendError, CallTimeout, Refused, Unavailable
from agentfleet.routing.retry import FIRST, LONGEST, MOST_ASKED, RetryBudget, pause

DOWN = Unavailable("500", retryable=True)


@pytest.mark.parametrize(
    "error", [BackendError("400"), CallTimeout("late"), Refused("no"), Unavailable("no JSON"), Unavailable("x", 1.0)]
)
def test_only_what_a_backend_calls_retryable_is_retried(error: BackendError) -> None:
    assert pause(error, 1, 5, None) is None


def test_pauses_double_up_to_the_longest_and_end_with_the_retries() -> None:
    assert [pause(DOWN, done, 7, None, 1.0) for done in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert pause(DOWN, 8, 7, None, 1.0) is None
    assert pause(DOWN, 1, 0, None, 1.0) is None


@given(st.integers(1, 10), st.floats(0, 1))
def test_jitter_is_full(done: int, chance: float) -> None:
    wait = pause(DOWN, done, 10, None, chance)
    assert wait == pytest.approx(chance * min(LONGEST, FIRST * 2 ** (done - 1)))


@given(st.floats(0, MOST_ASKED), st.floats(0, 1))
def test_the_servers_word_is_kept_and_a_little_added(asked: float, chance: float) -> None:
    wait = pause(Unavailable("429", asked, True, 429), 1, 2, None, chance)
    assert wait is not None and asked <= wait <= asked + FIRST


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    assert pause(Unavailable("429", MOST_ASKED + 1, True, 429), 1, 2, None) is None


@given(st.floats(0, 20), st.one_of(st.none(), st.floats(0, 20)), st.floats(0, 1))
def test_no_retry_begins_after_the_deadline(left: float, asked: float | None, chance: float) -> None:
    wait = pause(Unavailable("503", asked, True, 503), 2, 5, left, chance)
    assert wait is None or wait < left


def test_a_budget_has_a_floor_and_then_a_share_of_the_calls() -> None:
    budget = RetryBudget(share=0.1, floor=3)
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(25):
        budget.called()
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]


def test_a_quiet_time_brings_the_floor_back_and_no_more() -> None:
    budget = RetryBudget(floor=2, trickle=0.5)
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]
    assert budget.spend(1.0) is False and budget.spend(2.0) is True
    assert [budget.spend(1000.0) for _ in range(3)] == [True, True, False]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=300))
def test_retries_are_never_more_than_floor_share_and_trickle(events: list[tuple[bool, float]]) -> None:
    budget, now, calls, retries = RetryBudget(), 0.0, 0, 0
    for is_call, gap in events:
        now += gap
        if is_call:
            budget.called()
            calls += 1
        else:
            retries += budget.spend(now)
        assert retries <= 10 + 0.1 * calls + 0.1 * now + 1e-6
