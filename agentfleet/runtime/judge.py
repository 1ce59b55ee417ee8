"""What is wrong with a value, however it came about: text that stands nowhere, or what one of the user's checks says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agentfleet.runtime.node import RAISED, Visit, user_error
from agentfleet.schema import Output
from agentfleet.verbatim import ungrounded, unsaid

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


async def problem_of(visit: Visit, value: Any, output: Output | None = None, texts: Sequence[str] = ()) -> str:
    """What is wrong with a value: text that stands nowhere, or what the first check that raises says."""
    if output is not None:
        problem = made_up(visit.step, value, output, texts)
        if problem:
            return problem
    if not visit.step.checks:
        return ""
    return await visit.context.pools.run(visit.depth, partial(_checked, visit, value))


def made_up(step: Step[..., Any], value: Any, output: Output, texts: Sequence[str]) -> str:
    """What stands in no text though it should, "" for nothing: a Verbatim field, a number of a summary."""
    problem = ungrounded(output, value, texts)
    return unsaid(output, value, texts) if not problem and step.grounded else problem


def _checked(visit: Visit, value: Any) -> str:
    given = [visit.inputs[param.name] for param in visit.step.params]
    for check in visit.step.checks:
        try:
            check(value, *given)
        except (ValueError, AssertionError) as error:
            return str(error) or f"the check {getattr(check, '__name__', 'check')} refused it"
        except RAISED as error:
            raise user_error(visit, error) from error
    return ""
