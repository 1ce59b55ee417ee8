"""each and repeat while they run: keys, bounds, failures beside successes, what is taken when no round is good."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentfleet import OnFail, Session, StepError, StepFailed, ask, each, extract, graph, repeat, step, summarise
from agentfleet.errors import Unavailable
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]


@summarise(tier="small")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


class Busy:
    """How many are at work together, and at most were."""

    now = 0
    most = 0
    broken: frozenset[str] = frozenset()
    done: list[str] = []  # noqa: RUF012


@step
async def work(text: str) -> str:
    Busy.now += 1
    Busy.most = max(Busy.most, Busy.now)
    await asyncio.sleep(0.01)
    Busy.now -= 1
    if text in Busy.broken:
        raise ValueError(f"{text} is broken")
    Busy.done.append(text)
    return text.upper()


two_at_once = each(work, at_once=2)
all_at_once = each(work)
named = each(work, key=lambda text: text[:2])


@pytest.fixture(autouse=True)
def rested() -> None:
    Busy.now = Busy.most = 0
    Busy.broken = frozenset()
    Busy.done = []


@pytest.mark.parametrize(("lists", "most"), [(two_at_once, 2), (all_at_once, 7)])
def test_at_once_bounds_what_is_at_work_together(opened: Opened, lists: Any, most: int) -> None:
    session, _ = opened()
    items = list("abcdefg")
    run = session.run(lists, {"text": items})
    assert run.value == [item.upper() for item in items], "in the order of the items"
    assert Busy.most == most


def test_paths_hold_the_key_and_equal_items_a_number(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(named, {"text": ["abc", "abd", "x/y#z"]})
    assert list(run.steps) == ["each_work#ab/work", "each_work#ab.2/work", "each_work#x_/work", "each_work"]
    plain = session.run(all_at_once, {"text": ["same", "same"]})
    first, second = [path for path in plain.steps if "/" in path]
    assert second == first.replace("/work", ".2/work")
    key = first.removeprefix("each_work#").removesuffix("/work")
    assert len(key) == 8 and int(key, 16) >= 0


def test_an_item_moved_in_the_list_is_not_repeated(opened: Opened) -> None:
    session, _ = opened()
    Busy.broken = frozenset("c")
    assert session.run(all_at_once.using(key="k"), {"text": ["a", "b"]}).value == ["A", "B"]
    run = session.run(all_at_once, {"text": ["a", "b", "c"]})
    assert run.status == "failed"
    assert sorted(Busy.done) == ["a", "a", "b", "b"]


def test_one_fails_and_the_others_are_finished_and_committed(opened: Opened) -> None:
    session, _ = opened()
    Busy.broken = frozenset("b")
    run = session.run(two_at_once, {"text": list("abcd")})
    assert run.status == "failed" and "b is broken" in run.error
    assert sorted(Busy.done) == ["a", "c", "d"]
    kept = session.read(run.id).steps
    assert sorted(s.value for s in kept.values() if s.state == "done") == ["A", "C", "D"]
    Busy.broken, Busy.done = frozenset(), []
    session, _ = opened()
    assert session.resume(run.id, two_at_once).value == list("ABCD")
    assert Busy.done == ["b"]


def test_items_that_wait_do_not_hold_up_the_others(opened: Opened) -> None:
    lists = each(gist, at_once=1, key=lambda text: text)
    script = {"each_gist#a/gist": Unavailable("down"), "each_gist#b/gist": "B"}
    session, _ = opened(script)
    run = session.run(lists, {"text": ["a", "b"]})
    assert [w.path for w in run.waiting] == ["each_gist#a/gist"] and run.steps["each_gist#b/gist"].value == "B"


def test_an_empty_list_and_a_key_that_raises(opened: Opened) -> None:
    session, _ = opened()
    assert session.run(all_at_once, {"text": []}).value == []
    wrong = each(work, key=lambda text: text[5])
    run = session.run(wrong, {"text": ["a"]})
    assert run.status == "failed" and "raised IndexError" in run.error
    assert isinstance(run.cause, StepError)


def test_a_stop_begins_no_further_item(opened: Opened) -> None:
    session, _ = opened()

    def stop(event: Any) -> None:
        if type(event).__name__ == "StepFinished":
            session.stop()

    one_by_one = each(work, at_once=1)
    run = session.run(one_by_one, {"text": list("abc")}, listener=stop)
    assert run.status == "paused" and Busy.done == ["a"]
    assert session.resume(run.id, one_by_one).value == list("ABC") and Busy.done == ["a", "b", "c"]


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_every_item_has_a_path_of_its_own(items: list[str]) -> None:
    with scripted({"gist": "g"}):
        run = each(gist, key=lambda text: text).run(items)
    assert len(run.steps) == len(items) + 1 and run.value == ["g"] * len(items)


class Draft(BaseModel):
    text: str
    good: bool = False


@extract(tier="small")
def improve(draft: Draft, about: str) -> Draft:
    """Improve it."""
    return ask(draft, about)


def is_good(draft: Draft) -> bool:
    return draft.good


polish = repeat(improve, until=is_good, at_most=3)


def drafts(*good: bool) -> list[dict[str, Any]]:
    return [{"text": f"v{number}", "good": one} for number, one in enumerate(good, 1)]


def test_rounds_end_when_the_condition_holds(opened: Opened) -> None:
    session, backend = opened({"improve": drafts(False, True, True)})
    run = session.run(polish, {"draft": Draft(text="v0"), "about": "x"})
    assert run.value == Draft(text="v2", good=True)
    assert list(run.steps) == ["repeat_improve#1/improve", "repeat_improve#2/improve", "repeat_improve"]
    assert len(backend.calls) == 2 and run.steps["repeat_improve"].outcome == "valid"


def test_what_is_good_at_first_is_not_touched(opened: Opened) -> None:
    session, backend = opened({})
    run = session.run(polish, {"draft": Draft(text="v0", good=True), "about": "x"})
    assert run.value == Draft(text="v0", good=True) and backend.calls == []


NEVER = {"draft": Draft(text="v0"), "about": "x"}


@pytest.mark.parametrize(
    ("wish", "value", "model"),
    [({}, "v3", "best"), ({"on_fail": OnFail.BEST}, "v3", "best"), ({"on_fail": Draft(text="d")}, "d", "default")],
)
def test_rounds_that_are_used_up(opened: Opened, wish: dict[str, Any], value: str, model: str) -> None:
    session, _ = opened({"improve": drafts(False, False, False)})
    run = session.run(polish.using(**wish), NEVER)
    last = run.steps["repeat_improve"]
    assert (run.value.text, last.model, last.outcome) == (value, model, "rejected")


def test_rounds_that_are_used_up_may_fail(opened: Opened) -> None:
    session, _ = opened({"improve": drafts(False, False, False)})
    run = session.run(polish.using(on_fail=OnFail.RAISE), NEVER)
    assert run.status == "failed" and isinstance(run.cause, StepFailed)
    assert "3 rounds, and its condition never held" in run.error and run.cause.best == Draft(text="v3")


def test_rounds_go_on_where_they_were(opened: Opened) -> None:
    session, _ = opened({"improve": [*drafts(False), Unavailable("down")]})
    run = session.run(polish, NEVER)
    assert run.status == "waiting" and run.waiting[0].path == "repeat_improve#2/improve"
    session, backend = opened({"improve": {"text": "end", "good": True}})
    assert session.resume(run.id, polish).value == Draft(text="end", good=True)
    assert [path for path, _ in backend.calls] == ["repeat_improve#2/improve"]


def test_a_condition_that_raises_names_the_step(opened: Opened) -> None:
    session, _ = opened({})
    wrong = repeat(improve, until=lambda draft: 1 / 0 > 1, at_most=2)
    run = session.run(wrong, NEVER)
    assert run.status == "failed" and "repeat_improve" in run.error and "ZeroDivisionError" in run.error


def test_a_slow_condition_holds_up_nobody(opened: Opened) -> None:
    """It waits for what another branch of the same run does on the loop, so it cannot be asked there."""
    reached = threading.Event()

    @step
    def hop(text: str) -> str:
        return text

    @step
    async def reach(text: str) -> str:
        reached.set()
        return text

    def waits(text: str) -> bool:
        return reached.wait(10)

    patient = repeat(hop, until=waits, at_most=1).using(on_fail=OnFail.RAISE)

    @step
    def pair(texts: list[str]) -> str:
        return " ".join(texts)

    @graph
    def both(text: str) -> str:
        return pair([patient(text), reach(hop(text))])

    session, _ = opened()
    assert session.run(both, {"text": "x"}).value == "x x"
