"""The ladder over every sequence of outcomes: it ends, keeps its caps, asks no rung again, accounts for everything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.backends.backend import Completion
from agentfleet.errors import CallTimeout, Refused, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.ladder import Answer, Call, Judge, May, Rung, Stuck, Task, climb
from agentfleet.routing.outcome import REASK, Attempt, Outcome
from agentfleet.schema import output_of

KIND = output_of(Literal["a", "b"], where="test", closed=True)
PROMPT = Prompt("Which?", (Block("text", "x"),))
REPLIES = ["valid", "invalid", "rejected", "unsure", "truncated", "refused", "declined", "unavailable", "timeout"]


def reply(kind: str) -> Any:
    """What a backend would give for an outcome."""
    if kind in ("valid", "rejected"):
        return Completion('"a"', "m")
    return {
        "invalid": Completion('"zebra"', "m"),
        "unsure": Completion('"a"', "m", distribution={"a": 0.5, "b": 0.5}),
        "truncated": Completion('"a', "m", finish="length"),
        "refused": Refused("no"),
        "declined": Completion("", "m", finish="refusal"),
        "unavailable": Unavailable("down"),
        "timeout": CallTimeout("slow"),
    }[kind]


def drive(
    task: Task, kinds: list[str], barred: Collection[int] = ()
) -> tuple[Answer | Stuck, list[Call], list[Attempt]]:
    """Play a script of replies; when it is used up everything is invalid. `barred` rungs may not try."""
    steps, calls, seen, script = climb(task), [], [], iter(kinds)
    kind, send = "", None
    while True:
        try:
            wanted = steps.send(send)
        except StopIteration as stop:
            return stop.value, calls, seen
        send = None
        if isinstance(wanted, May):
            send = "label" if int(wanted.rung.model[-1]) in barred else ""
        elif isinstance(wanted, Call):
            calls.append(wanted)
            kind = next(script, "invalid")
            send = reply(kind)
        elif isinstance(wanted, Judge):
            send = "not like that" if kind == "rejected" else ""
        else:
            seen.append(wanted)


def task(rungs: int = 3, tries: int = 2, **more: Any) -> Task:
    given = tuple(Rung(f"tier{i}", f"model{i}", tries) for i in range(rungs))
    return Task(PROMPT, KIND, given, min_confidence=0.8, **more)


@given(
    kinds=st.lists(st.sampled_from(REPLIES), max_size=20),
    rungs=st.integers(0, 4),
    tries=st.integers(1, 3),
    cap=st.integers(1, 6),
    climbs=st.booleans(),
    barred=st.sets(st.integers(0, 3)),
)
def test_every_sequence_ends_within_its_caps(
    kinds: list[str], rungs: int, tries: int, cap: int, climbs: bool, barred: set[int]
) -> None:
    wanted = task(rungs, tries, max_attempts=cap, climb_on_refusal=climbs)
    end, calls, seen = drive(wanted, kinds, barred)
    assert len(calls) <= cap
    assert list(end.attempts) == seen, "each attempt is yielded as it ends, and none is missing at the end"
    assert [a.number for a in seen] == list(range(1, len(seen) + 1))
    assert sum(a.outcome is not Outcome.SKIPPED for a in seen) == len(calls)
    for index in range(rungs):
        mine = [a for a in seen if a.model == f"model{index}"]
        assert len(mine) <= tries
        assert all(a.outcome in REASK for a in mine[:-1]), "a rung is asked again only after invalid or rejected"
        if index in barred:
            assert all(a.outcome is Outcome.SKIPPED for a in mine)
    order = [int(a.model[-1]) for a in seen]
    assert order == sorted(order), "never back down"
    if isinstance(end, Answer):
        assert end.attempt.outcome is Outcome.VALID and end.attempt is seen[-1]
    else:
        assert all(a.outcome is not Outcome.VALID for a in seen)
    refused = [a for a in seen if a.outcome is Outcome.REFUSED]
    if refused and not climbs:
        assert seen[-1] is refused[0]


@given(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=8), st.integers(0, 8))
def test_a_resumed_climb_goes_on_where_it_stopped(kinds: list[str], cut: int) -> None:
    """Attempts recorded by an earlier process are not made again, and the end is the same."""
    end, calls, seen = drive(task(), kinds)
    prior = tuple(seen[:cut])
    if any(a.outcome in (Outcome.UNAVAILABLE, Outcome.TIMEOUT, Outcome.VALID, Outcome.REFUSED) for a in prior):
        return
    again, later, _ = drive(task(prior=prior), kinds[len(prior) :])
    assert len(later) == len(calls) - len(prior)
    assert [a.outcome for a in again.attempts] == [a.outcome for a in end.attempts]
    assert type(again) is type(end)


def test_the_validators_message_is_handed_back_to_the_same_rung() -> None:
    _, calls, _ = drive(task(1), ["rejected", "valid"])
    note = calls[1].prompt.notes[-1]
    assert (note.kind, note.problem, note.answer) == ("re-ask", "not like that", '"a"')


def test_evidence_goes_up_as_quoted_data() -> None:
    prompt = Prompt("Which?", (Block("text", "x"),))
    _, calls, _ = drive(Task(prompt, KIND, (Rung("t", "m0", 1), Rung("u", "m1", 1))), ["rejected", "valid"])
    shown = calls[1].prompt.messages()[-1].content
    assert "<earlier_answer>" in shown and "not accepted: not like that" in shown
    assert "earlier_answer" not in calls[1].prompt.system()


@pytest.mark.parametrize(
    ("kinds", "more", "reason"),
    [
        (["unsure"] * 3, {"empty": ("large",)}, "model"),
        (["unsure"] * 3, {"person": True}, "person"),
        (["unsure"] * 3, {}, "failed"),
        (["unsure", "unsure", "unavailable"], {}, "model"),
        (["refused"], {"empty": ("large",)}, "failed"),
    ],
)
def test_why_it_is_stuck(kinds: list[str], more: dict[str, Any], reason: str) -> None:
    end, _, _ = drive(task(**more), kinds)
    assert isinstance(end, Stuck) and end.reason == reason and end.why


def test_the_best_value_is_kept() -> None:
    end, _, _ = drive(task(1), ["rejected", "invalid"])
    assert isinstance(end, Stuck) and end.best == "a" and end.best_number == 1


@given(
    kinds=st.lists(st.sampled_from(REPLIES), max_size=12),
    rungs=st.integers(1, 3),
    cut=st.integers(0, 12),
    cap=st.integers(1, 6),
)
def test_over_two_processes_the_caps_hold_and_the_account_is_whole(
    kinds: list[str], rungs: int, cut: int, cap: int
) -> None:
    """Whatever an earlier process recorded: no call beyond the caps, no number twice, no settled rung asked again."""
    _, _, seen = drive(task(rungs, max_attempts=cap), kinds)
    prior = tuple(a for a in seen[:cut] if a.outcome is not Outcome.VALID)
    end, calls, later = drive(task(rungs, max_attempts=cap, prior=prior), kinds[len(prior) :])
    assert end.attempts == (*prior, *later)
    assert [a.number for a in end.attempts] == list(range(1, len(end.attempts) + 1))
    assert len(prior) + len(calls) <= cap
    lasting = {"unavailable", "timeout", "skipped"}
    for index in range(rungs):
        before = [a for a in prior if a.model == f"model{index}" and a.outcome.value not in lasting]
        now = [a for a in later if a.model == f"model{index}"]
        assert len(before) + len([a for a in now if a.outcome.value not in lasting]) <= 2
        if before and before[-1].outcome not in REASK:
            assert not now, "a rung that was settled is not asked again"


@given(st.lists(st.sampled_from(REPLIES), max_size=8))
def test_the_best_value_is_that_of_a_parsed_attempt(kinds: list[str]) -> None:
    end, _, _ = drive(task(), kinds)
    if isinstance(end, Stuck):
        parsed = [a.number for a in end.attempts if a.outcome in (Outcome.REJECTED, Outcome.UNSURE)]
        assert end.best_number == (parsed[-1] if parsed else 0)
        assert end.best == ("a" if parsed else None)


def test_the_best_value_of_an_earlier_process_is_known() -> None:
    _, _, seen = drive(task(1), ["rejected", "rejected"])
    end, calls, _ = drive(task(1, prior=tuple(seen)), [])
    assert isinstance(end, Stuck) and (end.best, end.best_number, calls) == ("a", 2, [])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"person": True}, "a person is asked by design (tier person)"),
        ({"person": True, "empty": ("large",)}, "no model in tier large, so a person is asked"),
        ({"empty": ("large", "frontier")}, "no model in tier large or frontier"),
        ({}, "no model may be asked"),
    ],
)
def test_a_ladder_without_rungs_says_why(more: dict[str, Any], why: str) -> None:
    end, calls, seen = drive(task(0, **more), [])
    assert isinstance(end, Stuck) and end.why == why and not calls and not seen


SHARES = st.tuples(st.sampled_from("ab"), st.floats(0.5, 1.0), st.booleans())


@given(st.lists(SHARES, min_size=1, max_size=4), st.floats(0.5, 1.0))
def test_no_rung_is_believed_below_the_floor_whatever_stood_under_it(
    shares: list[tuple[str, float, bool]], floor: float
) -> None:
    """The first share that reaches the floor is taken: a rung that is sure only beside an unsure one is not."""
    rungs = tuple(Rung(f"t{i}", f"m{i}", 1) for i in range(len(shares)))
    steps, send, asked = climb(Task(PROMPT, KIND, rungs, min_confidence=floor)), None, iter(shares)
    while True:
        try:
            wanted = steps.send(send)
        except StopIteration as stop:
            end = stop.value
            break
        send = None
        if isinstance(wanted, (May, Judge)):
            send = ""
        elif isinstance(wanted, Call):
            text, share, calibrated = next(asked)
            rest = {"a": "b", "b": "a"}[text]
            send = Completion(f'"{text}"', "m", distribution={text: share, rest: 1 - share}, calibrated=calibrated)
    sure = [i for i, (_, share, _) in enumerate(shares) if share >= floor]
    if sure:
        assert isinstance(end, Answer) and end.attempt.model == f"m{sure[0]}" and end.value == shares[sure[0]][0]
    else:
        assert isinstance(end, Stuck) and all(a.outcome is Outcome.UNSURE for a in end.attempts)
