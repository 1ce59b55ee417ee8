"""Choosing among models that may all answer: by price, pace and quality, from what was seen lately."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.fleet.model import Model
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.choose import Estimate, estimate, order, pressed
from agentfleet.routing.describe import Description
from agentfleet.routing.watch import AGE, FEW, Watch
from agentfleet.schema import output_of


def seen(cost: float | None, seconds: float | None = None, quality: float | None = None, ahead: int = 0) -> Estimate:
    slow = None if seconds is None else seconds * 2
    return Estimate(100, 10, cost, seconds, slow, quality, ahead)


def priced(name: str, **more: Any) -> Model:
    return Model(name=name, backend="openai", model=name, tier="large", price={"input": 1.0, "output": 2.0}, **more)


WANTED = Description("s", "extract", "g", Prompt("Do it.", (Block("mail", "word " * 200),)), output_of(str, where="s"))


def test_the_cheapest_is_first_and_an_unknown_price_last() -> None:
    assert order([seen(None), seen(0.3), seen(0.0), seen(0.1)], "cheapest") == [2, 3, 1, 0]


def test_what_costs_the_same_goes_to_the_better_then_the_faster_one_then_as_the_file_says() -> None:
    assert order([seen(0, 1.0, 0.5), seen(0, 9.0, 0.9), seen(0, 2.0, 0.9), seen(0, 2.0, 0.9)], "cheapest") == [
        2,
        3,
        1,
        0,
    ]


def test_one_that_misses_the_deadline_stands_behind() -> None:
    models = [seen(0.0, 10.0), seen(0.2, 0.4), seen(0.1, 0.4), seen(0.1, 30.0)]
    assert order(models, "cheapest", deadline=1.0) == [2, 1, 0, 3], "of the late ones the least late is first"
    assert order(models, "cheapest") == [0, 2, 3, 1]


def test_fastest_and_best() -> None:
    models = [seen(0.0, 3.0, 0.2), seen(0.5, 1.0), seen(0.9, 2.0, 0.8)]
    assert order(models, "fastest") == [1, 2, 0]
    assert order(models, "best") == [2, 0, 1]


def test_a_model_that_was_not_timed_is_tried_by_one_at_a_time() -> None:
    assert order([seen(0, 1.0), seen(0, None)], "fastest") == [1, 0]
    assert order([seen(0, 1.0), seen(0, None, ahead=1)], "fastest") == [0, 1]
    assert order([seen(0.2, 0.1), seen(0.1, None)], "cheapest", 1.0) == [1, 0]
    assert order([seen(0.2, 0.1), seen(0.1, None, ahead=1)], "cheapest", 1.0) == [0, 1]


@given(
    st.lists(
        st.builds(
            seen,
            st.none() | st.floats(0, 9),
            st.none() | st.floats(0, 99),
            st.none() | st.floats(0, 1),
            st.integers(0, 3),
        ),
        max_size=6,
    ),
    st.sampled_from(["cheapest", "fastest", "best"]),
    st.none() | st.floats(0, 50),
)
def test_every_model_has_one_place(models: list[Estimate], objective: Any, deadline: float | None) -> None:
    assert sorted(order(models, objective, deadline)) == list(range(len(models)))


def test_little_money_turns_every_objective_to_cheapest() -> None:
    assert pressed("best", None) == pressed("best", 0.5) == "best"
    assert pressed("best", 0.1) == pressed("fastest", -1.0) == "cheapest"


def test_an_estimate_prices_the_usual_answer_not_the_longest() -> None:
    watch = Watch()
    before = estimate(priced("a"), WANTED, watch, 0.0)
    assert before.answer_tokens == WANTED.answer_tokens == 200
    assert before.cost == pytest.approx((WANTED.tokens * 1 + 200 * 2) / 1e6)
    for tokens in (20, 30, 40, 0, 0, 0, 0):
        watch.answered("s", tokens)
    assert estimate(priced("a"), WANTED, watch, 0.0).answer_tokens == 30
    assert estimate(priced("a", max_tokens=25), WANTED, watch, 0.0).answer_tokens == 25
    assert estimate(Model(name="b", backend="openai", model="nobody-knows"), WANTED, watch, 0.0).cost is None


def test_an_exact_number_of_tokens_comes_before_the_estimate() -> None:
    assert estimate(priced("a"), WANTED, Watch(), 0.0, tokens=7).tokens == 7


def test_quality_is_that_of_the_kind_of_step() -> None:
    model = priced("a", quality={"extract": 0.7, "plan": 0.1})
    assert estimate(model, WANTED, Watch(), 0.0).quality == 0.7


def test_seconds_are_of_calls_alike_and_wait_for_those_ahead() -> None:
    watch, model = Watch(), priced("a", concurrency=2)
    for seconds in (1.0, 2.0, 3.0):
        watch.saw("a", "text", WANTED.tokens, seconds, 0.0)
        watch.saw("a", "text", WANTED.tokens * 40, seconds * 100, 0.0)
        watch.saw("a", "json", WANTED.tokens, seconds * 1000, 0.0)
        watch.saw("b", "text", WANTED.tokens, seconds * 1000, 0.0)
    found = estimate(model, WANTED, watch, 1.0)
    assert (found.seconds, found.slow) == (2.0, pytest.approx(2.9))
    watch.enter("a")
    assert estimate(model, WANTED, watch, 1.0).seconds == 2.0, "two are served at once"
    watch.enter("a")
    watch.enter("a")
    assert estimate(model, WANTED, watch, 1.0).seconds == 4.0
    watch.leave("a")
    watch.leave("a")
    assert estimate(model, WANTED, watch, 1.0).ahead == 1


def test_few_calls_of_a_size_ask_those_of_all_sizes_and_old_ones_are_forgotten() -> None:
    watch = Watch()
    assert watch.seconds("a", "text", 100, 0.0) is None
    for number in range(FEW):
        watch.saw("a", "text", 10_000, 5.0, float(number))
    assert watch.seconds("a", "text", 100, 1.0) == (5.0, 5.0)
    watch.saw("a", "text", 100, 1.0, 2.0)
    assert watch.seconds("a", "text", 100, 3.0) == (5.0, 5.0)
    assert watch.seconds("a", "text", 100, AGE + 1.5) == (3.0, pytest.approx(4.8)), "only the last two are young enough"
    assert watch.seconds("a", "text", 100, AGE * 2) is None
