"""Checks hold for every kind of step, not for skills alone."""

from __future__ import annotations

from agentfleet import graph, step
from agentfleet.testing import scripted


@step
def half(number: int) -> int:
    return number // 2


@half.check
def is_positive(value: int, number: int) -> None:
    if value < 0:
        raise ValueError("it is below zero")


@graph
def halves(number: int) -> int:
    return half(number)


@halves.check
def is_small(value: int, number: int) -> None:
    if value > 100:
        raise ValueError("it is too large")


def test_a_check_of_a_plain_step_holds() -> None:
    with scripted({}):
        assert half.run(8).value == 4
        failed = half.run(-8)
    assert failed.status == "failed" and "below zero" in failed.error


def test_a_check_of_a_graph_holds() -> None:
    with scripted({}):
        assert halves.run(8).value == 4
        failed = halves.run(1000)
    assert failed.status == "failed" and "too large" in failed.error
