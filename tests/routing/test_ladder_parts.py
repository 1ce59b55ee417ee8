"""The ladder where a rung may try only in parts: every sequence of outcomes ends, and no part is asked without need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.backends.backend import Completion
from agentfleet.errors import Refused, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.ladder import Answer, Call, Joined, Judge, May, Piece, Rung, Split, Stuck, Task, climb
from agentfleet.routing.outcome import Attempt, Outcome
from agentfleet.schema import Abstain, output_of

NUMBERS = output_of(list[int] | Abstain, where="test")
LONG = Prompt("Which?", (Block("text", "long"),))
PARTS = 3


def reply(kind: str) -> Any:
    return {
        "valid": Completion("[1]", "m"),
        "rejected": Completion("[2]", "m"),
        "invalid": Completion("[", "m"),
        "abstained": Completion('{"abstain": true}', "m"),
        "truncated": Completion("[1", "m", finish="length"),
        "refused": Refused("no"),
        "unavailable": Unavailable("down"),
    }[kind]


KINDS = ("valid", "rejected", "invalid", "abstained", "truncated", "refused", "unavailable")


def split(problem: str = "", then: Prompt | None = None) -> Split:
    def join(values: Mapping[int, Any]) -> Joined:
        return Joined(json.dumps([n for number in sorted(values) for n in values[number]]), problem, then)

    shown = [Prompt("Part?", (Block("text", str(number)),)) for number in range(1, PARTS + 1)]
    return Split(tuple(Piece(n, PARTS, prompt, NUMBERS, ("",)) for n, prompt in enumerate(shown, start=1)), join)


def drive(
    task: Task, kinds: list[str], how: Split, bad_part: int = 0
) -> tuple[Answer | Stuck, list[Call], list[Attempt]]:
    """Every long prompt may be tried in parts only; `bad_part` may not be tried at all."""
    steps, calls, seen, script = climb(task), [], [], iter(kinds)
    send: Any = None
    while True:
        try:
            wanted = steps.send(send)
        except StopIteration as stop:
            return stop.value, calls, seen
        send = None
        if isinstance(wanted, May):
            send = how if wanted.prompt.blocks == LONG.blocks else ""
            if wanted.piece is not None and wanted.piece.number == bad_part:
                send = "budget: none is left"
        elif isinstance(wanted, Call):
            calls.append(wanted)
            send = reply(next(script, "valid"))
        elif isinstance(wanted, Judge):
            send = "not like that" if wanted.value == [2] else ""
        else:
            seen.append(wanted)


def task(**more: Any) -> Task:
    return Task(LONG, NUMBERS, (Rung("small", "m0"), Rung("large", "m1")), **more)


@given(st.lists(st.sampled_from(KINDS), max_size=20), st.sampled_from(["", "they contradict"]), st.integers(0, PARTS))
def test_every_sequence_ends_and_is_told_whole(kinds: list[str], problem: str, bad_part: int) -> None:
    end, calls, seen = drive(task(), kinds, split(problem), bad_part)
    assert list(end.attempts) == seen
    assert [a.number for a in seen] == list(range(1, len(seen) + 1))
    assert len(calls) == sum(a.of_part for a in seen) <= 2 * PARTS * 2
    for model in ("m0", "m1"):
        mine = [a for a in seen if a.model == model]
        assert not mine or (not mine[-1].of_part and sum(not a.of_part for a in mine) == 1), (
            "one attempt is the whole's"
        )
        for number in range(1, PARTS + 1):
            assert sum(a.extra.get("part") == number for a in mine) <= 2
    if isinstance(end, Answer):
        assert not problem and not bad_part and end.attempt.extra == {"parts": PARTS}


def test_parts_do_not_use_up_the_attempts_of_the_step() -> None:
    end, calls, _ = drive(task(max_attempts=2), ["valid", "truncated", "valid", "valid", "valid"], split())
    assert isinstance(end, Answer) and len(calls) == 5  # two parts on the first rung, three on the next


def test_a_part_that_abstains_is_left_out() -> None:
    end, _, _ = drive(task(), ["valid", "abstained", "valid"], split())
    assert isinstance(end, Answer) and end.value == [1, 1]


def test_a_part_that_may_not_be_tried_skips_the_rung() -> None:
    end, calls, seen = drive(task(), [], split(), bad_part=2)
    assert isinstance(end, Stuck) and len(calls) == 2
    assert [(a.outcome.value, a.problem) for a in seen if not a.of_part] == [
        ("skipped", "part 2 of 3: budget: none is left")
    ] * 2


def test_a_refusal_of_a_part_ends_the_climb() -> None:
    end, calls, _ = drive(task(), ["refused"], split())
    assert isinstance(end, Stuck) and len(calls) == 1 and "part 1 of 3" in end.why


def test_the_whole_may_be_asked_once_more() -> None:
    end, calls, _ = drive(task(), ["valid"] * PARTS + ["rejected", "valid"], split(then=Prompt("All?", ())))
    assert isinstance(end, Answer) and end.attempt.number == PARTS + 2
    assert [note.kind for note in calls[-1].prompt.notes] == ["re-ask"]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_what_an_earlier_process_was_told_about_a_part_is_not_asked_again(known: int) -> None:
    _, _, before = drive(task(), ["valid"] * known + ["unavailable"] * 2, split())
    prior = tuple(a for a in before if a.model == "m0")
    end, calls, _ = drive(task(prior=prior), [], split())
    assert isinstance(end, Answer) and len(calls) == PARTS - known
    assert end.attempt.outcome is Outcome.VALID
