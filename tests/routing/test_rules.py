"""Rules: what fits a request, which one applies, and what follows for its ladder."""

from __future__ import annotations

from typing import Any

import pytest

from agentfleet import Fleet, Model, ask, extract, summarise
from agentfleet.errors import UsageError
from agentfleet.fleet.rules import OBJECTIVES, Rule, Then, When
from agentfleet.graph.options import Options
from agentfleet.labels import Label
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.arrange import arrange
from agentfleet.routing.describe import Description
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.rules import misfit, rule_for
from agentfleet.schema import output_of


@summarise(tier="small", up_to="frontier")
def gist(mail: str) -> str:
    """Sum up."""
    return ask(mail)


@extract(tier="small", up_to="large")
def order_of(mail: str) -> int:
    """The number."""
    return ask(mail)


def wanted(text: str = "Please tell me where my parcel is.", level: str = "internal", **more: Any) -> Description:
    facts = {"step": "gist", "kind": "summarise", "graph": "desk"} | more
    prompt = Prompt("Sum up.", (Block("mail", text),))
    return Description(**facts, prompt=prompt, output=output_of(str, where="s"), label=Label(level))


FITS: list[When] = [
    When(),
    When(kind="summarise"),
    When(kind=("plan", "summarise"), step="gist", graph="desk"),
    When(language="en"),
    When(min_tokens=5, max_tokens=100),
    When(label="internal"),
    When(label="public"),
]


@pytest.mark.parametrize("when", FITS, ids=lambda when: str(Rule(when=when, then=Then(tier="x"))))
def test_what_fits(when: When) -> None:
    assert misfit(when, wanted()) == ""


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (When(kind="plan"), "kind is summarise"),
        (When(step="other", kind="summarise"), "step is gist"),
        (When(graph="other"), "graph is desk"),
        (When(language="de"), "language is en"),
        (When(min_tokens=500), "the prompt has about 3"),
        (When(max_tokens=3), "the prompt has about 3"),
        (When(label="confidential"), "label is internal"),
        (When(signals=("code",)), "no signal code"),
    ],
)
def test_what_does_not_fit_and_why(when: When, why: str) -> None:
    assert misfit(when, wanted()).startswith(why)


def test_the_first_that_fits_applies() -> None:
    rules = [
        Rule(name=n, when=w, then=Then(tier="x")) for n, w in (("a", When(kind="plan")), ("b", When()), ("c", When()))
    ]
    found = rule_for(rules, wanted())
    assert found is not None and found.name == "b"
    assert rule_for(rules[:1], wanted()) is None


def model(name: str, *tiers: str, price: float = 1.0) -> Model:
    return Model(name=name, backend="openai", model=name, tier=tiers, price={"input": price, "output": price})


MODELS = [
    model("s1", "small"),
    model("s2", "small", price=0.1),
    model("l1", "large"),
    model("l2", "large", price=2.0),
    model("f", "frontier"),
]


def rungs(then: Then | None, step: Any = gist, **more: Any) -> list[str]:
    rules = [] if then is None else [Rule(then=then)]
    found = arrange(Dispatcher(Fleet(MODELS, rules=rules)), step, wanted(), 0.0, **more)
    return [rung.model for rung in found.ladder.rungs]


def test_without_rules_each_tier_is_ordered_by_price() -> None:
    assert rungs(None) == ["s2", "s1", "l1", "l2", "f"]


def test_a_rule_moves_the_start_up_and_down_but_not_above_what_the_step_allows() -> None:
    assert rungs(Then(tier="large")) == ["l1", "l2", "f"]
    assert rungs(Then(tier="large"), order_of) == ["l1", "l2"]
    assert rungs(Then(tier="frontier"), order_of) == ["l1", "l2"]
    assert rungs(Then(tier="person"), order_of) == ["l1", "l2"]


def test_a_rule_pins_a_model_and_code_comes_before_rules() -> None:
    assert rungs(Then(model="f"), order_of) == ["f"]
    assert rungs(Then(model="f"), order_of.using(model="s1")) == ["s1"]


def test_what_a_rule_avoids_stays_in_sight_with_its_reason() -> None:
    rule = Rule(name="no s2", then=Then(avoid="s2"))
    found = arrange(Dispatcher(Fleet(MODELS, rules=[rule])), gist, wanted(), 0.0)
    assert found.ladder.rungs[0].model == "s2"
    assert found.avoided(MODELS[1]) == "rule: s2 is left out (no s2)"
    assert found.avoided(MODELS[0]) == ""


def test_objectives_of_step_and_rule() -> None:
    best = [
        m.model_copy(update={"quality": {"summarise": q}})
        for m, q in zip(MODELS, (0.9, 0.1, 0.2, 0.8, 0.9), strict=True)
    ]
    fleet = Fleet(best, rules=[Rule(then=Then(objective="best"))])
    found = arrange(Dispatcher(fleet), gist, wanted(), 0.0)
    assert (found.objective, [r.model for r in found.ladder.rungs]) == ("best", ["s1", "s2", "l2", "l1", "f"])
    own = arrange(Dispatcher(fleet), gist.using(objective="cheapest"), wanted(), 0.0)
    assert (own.objective, own.ladder.rungs[0].model) == ("cheapest", "s2")
    poor = arrange(Dispatcher(fleet), gist, wanted(), 0.0, share_left=0.05)
    assert (poor.objective, poor.ladder.rungs[0].model) == ("cheapest", "s2")


def test_the_objectives_of_code_and_of_the_file_are_the_same() -> None:
    for name in OBJECTIVES:
        assert Options().merged({"objective": name}, "s").objective == name
    with pytest.raises(UsageError, match="cheapest, fastest or best"):
        gist.using(objective="slowest")  # type: ignore[arg-type]


def test_models_alone_in_their_tier_are_not_compared() -> None:
    fleet = Fleet([MODELS[0], MODELS[2]])
    found = arrange(Dispatcher(fleet), gist, wanted(), 0.0)
    assert (found.estimates, [r.model for r in found.ladder.rungs]) == ({}, ["s1", "l1"])
