"""Arguments by name: which input gets what, defaults filled, each value validated. For calls that run now."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agentfleet.errors import InputError, TraceError, nearest
from agentfleet.graph.hidden import find
from agentfleet.graph.signature import Param, place
from agentfleet.graph.trace import titled

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


def only_text(params: Sequence[Param]) -> str | None:
    """The name of the input where there is a single plain text one: the common case, which needs no validation."""
    first = params[0] if len(params) == 1 else None
    return first.name if first is not None and first.annotation is str and not first.keyword_only else None


def match_arguments(
    step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What is wrong with a call ("" for nothing), and its arguments by name, defaults left out."""
    positional = [p.name for p in step.params if not p.keyword_only]
    if len(args) > len(positional):
        return f"{step.name} takes {_count(len(positional), 'positional input')}, got {len(args)}", {}
    given = dict(zip(positional, args, strict=False))
    names = {p.name for p in step.params}
    for name, value in kwargs.items():
        if name not in names:
            return f"{step.name} has no input {name!r}{nearest(name, names)}", {}
        if name in given:
            return f"{step.name} got {name!r} twice", {}
        given[name] = value
    missing = [p.name for p in step.params if p.required and p.name not in given]
    if missing:
        return f"{step.name} needs {', '.join(map(repr, missing))}", {}
    return "", given


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bind(step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs by name, complete and validated. Raises InputError with one line a field."""
    problem, given = match_arguments(step, args, kwargs)
    if problem:
        raise InputError(problem, (problem,))
    values: dict[str, Any] = {}
    problems: list[str] = []
    for param in step.params:
        if param.name not in given:
            values[param.name] = param.make_default()
            continue
        try:
            values[param.name] = param.codec.check(given[param.name])
        except ValidationError as error:
            _refuse_traced(step, given[param.name])
            problems += [_field_problem(param, item) for item in error.errors(include_url=False)]
    if problems:
        raise InputError(f"{step.name}: " + "; ".join(problems), problems)
    return values


def _refuse_traced(step: Step[..., Any], value: Any) -> None:
    found = find(value)
    if found is not None:
        name = found[0]._af_trace.name
        raise TraceError(f"{step.name} got {titled(found[0])}, which only exists while graph {name!r} is traced.")


def _field_problem(param: Param, item: Any) -> str:
    """One line; a value that has a label of its own is not repeated in it."""
    path = ".".join([param.name, *(str(part) for part in item["loc"])])
    if param.label is not None:
        return f"{path}: {item['msg']}"
    got = repr(item.get("input"))
    return f"{path}: {item['msg']} (got {got if len(got) <= 60 else got[:57] + '...'})"


def checked(step: Step[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """A check that takes the step's value and then its inputs. Raises TraceError for any other."""
    if step.effect:
        raise TraceError(
            f"{step.name} is an effect, and a check of its value would come when it has happened. Check what it is given "
            f"instead: in the planner's check, or in a step before it.{place(fn)}"
        )
    if inspect.iscoroutinefunction(fn):
        raise TraceError(f"the check {fn.__name__} of {step.name} is async; write def.{place(fn)}")
    names = list(inspect.signature(fn).parameters)
    wanted = [param.name for param in step.params]
    if not names or names[1:] != wanted:
        raise TraceError(
            f"the check {fn.__name__} takes ({', '.join(names)}), and a check of {step.name} takes the value, then the"
            f" same inputs: ({', '.join(['value', *wanted])}).{place(fn)}"
        )
    return fn
