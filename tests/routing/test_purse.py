"""Money: whatever happens in whatever order, what was spent and set aside never exceeds a limit by a call that was allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.fleet.model import Model
from agentfleet.routing.purse import Pot, Purse

CENT = Model(name="m", backend="scripted", tier="large", price={"input": 0.0, "output": 10_000.0})
"""A cent a token of answer."""


def test_a_call_needs_room_in_every_pot() -> None:
    wide, narrow = Pot("wide", 1.0), Pot("narrow", 0.05)
    purse = Purse([wide, narrow])
    assert purse.refusal(CENT, 1, 5) == ""
    assert purse.refusal(CENT, 1, 6) == "budget: this call may cost $0.0600, $0.0500 is left of narrow"
    assert Purse([Pot("none")]).refusal(CENT, 1, 10**6) == ""
    assert Purse().share_left is None


def test_what_is_set_aside_is_given_back_or_spent() -> None:
    pot = Pot("run", 1.0)
    purse = Purse([pot])
    purse.hold(CENT, 1, 10)
    assert (pot.held, pot.left, pot.share_left) == (pytest.approx(0.1), pytest.approx(0.9), pytest.approx(0.9))
    purse.settle(0.02)
    assert (pot.held, pot.left) == (0.0, pytest.approx(0.98))
    purse.hold(CENT, 1, 10)
    purse.settle(None)
    assert pot.left == pytest.approx(0.88), "nobody knows what it cost: all that was set aside"
    purse.hold(CENT, 1, 10)
    purse.release()
    assert pot.left == pytest.approx(0.88)


def test_money_that_others_hold_is_waited_for_and_money_that_is_spent_is_not() -> None:
    pot = Pot("run", 0.1)
    one, other = Purse([pot]), Purse([pot])
    one.hold(CENT, 1, 6)
    assert other.refusal(CENT, 1, 6) and other.waits(CENT, 1, 6)
    assert not other.waits(CENT, 1, 4), "it fits"
    one.settle(0.06)
    assert other.refusal(CENT, 1, 6) and not other.waits(CENT, 1, 6)


def test_what_the_ledger_says_counts_when_it_is_more() -> None:
    pot = Pot("day", 1.0, before=0.2, recorded=0.2)
    assert pot.spent == 0.2
    pot.paid = 0.1
    assert pot.spent == pytest.approx(0.3)
    pot.recorded = 0.5
    assert pot.spent == 0.5, "others spent meanwhile"
    pot.paid = 0.6
    assert pot.spent == pytest.approx(0.8)


def test_a_limit_of_nothing_leaves_no_share() -> None:
    assert Pot("x", 0.0).share_left == 0.0
    assert Purse([Pot("x", 0.0)]).refusal(CENT.model_copy(update={"price": None}), 1, 10) == "", "it is free"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.none() | st.floats(0, 1)), max_size=60))
def test_no_order_of_calls_overspends(moves: list[tuple[int, int, float | None]]) -> None:
    pot = Pot("run", 1.0)
    purses = [Purse([pot]) for _ in range(4)]
    for who, tokens, share in moves:
        purse = purses[who]
        if purse.held:
            purse.settle(None if share is None else share * purse.held)
        elif not purse.refusal(CENT, 1, tokens):
            purse.hold(CENT, 1, tokens)
        assert pot.spent + pot.held <= 1.0 + 1e-6
        assert pot.held == pytest.approx(sum(one.held for one in purses), abs=1e-9)
