"""Does a graph fit a fleet: tiers, models, keys and labels, before anything runs; and may a rung try a call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from agentfleet import Fleet, Label, Model, Plan, ask, classify, each, graph, plan, summarise
from agentfleet.errors import FleetError, LabelError, MissingKey
from agentfleet.labels import LEVELS
from agentfleet.labels import Label as Mark
from agentfleet.routing.dispatch import HEAD_MIN_PER_OPTION
from agentfleet.routing.eligible import budget_refusal, clearance, context_refusal, first_reason, label_refusal
from agentfleet.routing.fit import check_fit

HERE = Model(name="here", backend="scripted", tier="small")
CLOUD = Model(
    name="cloud", backend="openai", model="m", tier="small", key="env:FIT_KEY", price={"input": 1, "output": 2}
)


@summarise(tier="small")
def gist(text: Annotated[str, Label("restricted")]) -> str:
    """Gist."""
    return ask(text)


@graph
def inner(text: str) -> str:
    return gist(text)


@plan(tier="small", tools=[gist.using(tier="smal")])
def chooses(text: str) -> Plan[str]:
    """What to do."""
    return ask(text)


@classify(tier="small", up_to="person")
def kind(text: str) -> Literal["a", "b"]:
    """Which?"""
    return ask(text)


Kind = Literal["a", "b"]
ROWS = [({"text": f"{word} {number}"}, word) for word in ("a", "b") for number in range(HEAD_MIN_PER_OPTION)]


@classify(tier="nano", examples=ROWS)
def learnt(text: str) -> Kind:
    """Which?"""
    return ask(text)


@classify(tier="nano", examples=ROWS[2:])
def starved(text: str) -> Kind:
    """Which?"""
    return ask(text)


@graph
def sorted_by_a_head(text: Annotated[str, Label("restricted")]) -> str:
    return learnt(text)


@graph
def sorted_without(text: Annotated[str, Label("restricted")]) -> str:
    return starved(text)


@graph
def sorted_higher(text: Annotated[str, Label("restricted")]) -> str:
    return learnt.using(tier="small")(text)


@graph
def decided(text: Annotated[str, Label("restricted")]) -> str:
    return kind(text)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (gist.using(tier="smal"), r"gist .*: unknown tier 'smal'; did you mean 'small'"),
        (each(gist.using(tier="smal")), "unknown tier 'smal'"),
        (chooses, "unknown tier 'smal'"),
        (gist.using(model="her"), "the fleet has no model 'her'; it has: here"),
    ],
)
def test_names_that_the_fleet_does_not_know(step: Any, message: str) -> None:
    with pytest.raises(FleetError, match=message):
        check_fit(step, Fleet([HERE]))


def test_a_key_that_is_missing_is_told_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIT_KEY", raising=False)
    with pytest.raises(MissingKey, match="FIT_KEY"):
        check_fit(gist, Fleet([CLOUD]))
    monkeypatch.setenv("FIT_KEY", "x")
    check_fit(gist, Fleet([CLOUD]))


def test_labels_of_graphs_and_lists_are_checked_and_a_step_by_itself_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIT_KEY", "x")
    for step in (inner, each(gist), each(inner)):
        with pytest.raises(LabelError, match="cloud"):
            check_fit(step, Fleet([CLOUD]))
        check_fit(step, Fleet([CLOUD, HERE]))
    check_fit(gist, Fleet([CLOUD]))


def test_a_person_may_see_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIT_KEY", "x")
    check_fit(decided, Fleet([CLOUD]))


def test_a_head_is_a_rung_that_may_see_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIT_KEY", "x")
    cloud = CLOUD.model_copy(update={"tier": ("nano", "small")})
    check_fit(sorted_by_a_head, Fleet([cloud]))
    for step in (sorted_without, sorted_higher):  # too few examples; above the lowest tier
        with pytest.raises(LabelError, match="cloud"):
            check_fit(step, Fleet([cloud]))


@pytest.mark.parametrize(
    ("place", "limit"), [("device", "restricted"), ("private", "confidential"), ("cloud", "internal")]
)
def test_a_location_has_its_limit_and_the_fleet_file_the_last_word(place: Any, limit: str) -> None:
    model = Model(name="m", backend="scripted", location=place)
    assert clearance(model) == limit
    assert clearance(model.model_copy(update={"sees": "public"})) == "public"
    for level in LEVELS:
        assert bool(label_refusal(model, Mark(level))) == (LEVELS.index(level) > LEVELS.index(limit))


def test_regions_bind_all_but_this_machine() -> None:
    there = Model(name="m", backend="scripted", location="cloud", region="eu")
    data = Mark("internal", regions=frozenset({"eu"}))
    assert label_refusal(there, data) == ""
    assert "m is in us" in label_refusal(there.model_copy(update={"region": "us"}), data)
    assert "an unnamed region" in label_refusal(there.model_copy(update={"region": None}), data)
    assert label_refusal(HERE, data) == ""
    assert "no region" in label_refusal(there, Mark("internal", regions=frozenset()))


@pytest.mark.parametrize(("tokens", "context", "over"), [(90, 100, 0), (91, 100, 1), (None, 100, 0), (10_000, None, 0)])
def test_a_prompt_is_never_cut(tokens: int | None, context: int | None, over: int) -> None:
    refusal = context_refusal(HERE, tokens, 10, context)
    assert (f"are {over} more than the {context} of here" in refusal) if over else refusal == ""


def test_the_fleet_files_context_comes_before_the_backends() -> None:
    assert context_refusal(HERE.model_copy(update={"context": 50}), 45, 10, 1_000)


def test_the_worst_case_has_to_fit_the_budget() -> None:
    worst = (1_500 * 1 + 100 * 2) / 1_000_000  # the prompt is only estimated, so half as much again
    assert budget_refusal(CLOUD, 1_000, 100, None) == budget_refusal(CLOUD, 1_000, 100, worst * 1.001) == ""
    assert budget_refusal(CLOUD, 1_000, 100, worst * 0.999).startswith("budget: this call may cost $0.0017")
    assert "the price of m is unknown" in budget_refusal(
        Model(name="m", backend="openai", model="nobody-knows"), 1, 1, 1.0
    )
    assert budget_refusal(HERE, 1_000, 100, 0.0) == "", "what is free fits any budget"
    assert budget_refusal(HERE, 1_000, 100, -1.0) == "", "also one that is overdrawn"
    assert budget_refusal(CLOUD, 1_000, 100, 0.0, "the day").endswith("$0.0000 is left of the day")
    assert budget_refusal(Model(name="m", backend="openai", model="nobody-knows"), 1, 1, 1.0, "", True) == ""


def test_the_first_reason_counts() -> None:
    assert (first_reason(["", "b", "c"]), first_reason(["", ""])) == ("b", "")
