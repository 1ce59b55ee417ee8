"""Wiring beyond plain calls: `when` (a branch), `each` (a step over a list), `repeat` (a step until it is good)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from agentfleet.errors import TraceError, UsageError
from agentfleet.graph import types
from agentfleet.graph.arguments import expression
from agentfleet.graph.dag import When
from agentfleet.graph.signature import Param, Signature, place
from agentfleet.graph.step import Step
from agentfleet.graph.trace import Traced, current
from agentfleet.graph.tracing import refuse_closure

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")


def when(condition: bool, value: T, *, otherwise: U) -> T | U:
    """`value` if `condition` else `otherwise`; only the branch taken runs. Outside a graph it simply chooses.

    Raises TraceError when the condition is not a bool.
    """
    trace = current.get()
    if trace is None:
        return value if condition else otherwise
    test, shown = expression(trace, condition, "when(condition)")
    kind = shown._af_type if isinstance(shown, Traced) else types.type_of(shown)
    if not types.assignable(kind, bool):
        raise trace.fail(f"when(...) decides on a bool, and this is {types.describe(kind)}; compare it with something.")
    yes, first = expression(trace, value, "when(value)")
    no, second = expression(trace, otherwise, "when(otherwise)")
    kinds = [v._af_type if isinstance(v, Traced) else types.type_of(v) for v in (first, second)]
    made = When(test, yes, no)
    trace.whens.append((made, trace.line()))
    return Traced(made, types.union(*kinds), trace)  # type: ignore[return-value]


def _as_step(inner: Any, name: str) -> Step[..., Any]:
    if isinstance(inner, Step):
        return inner
    if callable(inner):
        from agentfleet.graph.decorators import step

        made: Step[..., Any] = step(inner)
        return made
    raise TraceError(f"{name} takes a step, graph or function, not {type(inner).__name__}")


def _plain_function(fn: Any, where: str) -> None:
    """`key` and `until` are asked by code between steps: not awaited, not steps, and without values of a tracing."""
    if fn is None:
        return
    if isinstance(fn, Step) or not callable(fn) or inspect.iscoroutinefunction(fn):
        kind = "a step" if isinstance(fn, Step) else "async" if callable(fn) else f"a {type(fn).__name__}"
        raise TraceError(f"{where} takes a plain function, and this is {kind}")
    refuse_closure(fn, where, current.get())


def each(
    inner: Callable[Concatenate[T, P], R], /, *, at_once: int | None = None, key: Callable[[Any], Any] | None = None
) -> Step[Concatenate[Sequence[T], P], list[R]]:
    """A step that runs `inner` on every item of a list; its other inputs are shared.

    `at_once`: items in work together, all when None. `key`: names an item in paths (default: 8 hex digits of it).
    """
    one = _as_step(inner, "each(...)")
    if not one.params:
        raise TraceError(f"each({one.name}): {one.name} takes no input; its first must be the item")
    if at_once is not None and (type(at_once) is not int or at_once < 1):
        raise UsageError(f"each({one.name}, at_once={at_once}): write a whole number, 1 or more")
    _plain_function(key, f"each({one.name}, key=...)")
    first = one.params[0]
    items = Param(first.name, Sequence[first.annotation], label=first.label)  # type: ignore[name-defined]
    signature = Signature((items, *one.params[1:]), list[one.returns], False)  # type: ignore[name-defined]
    return Step("each", None, signature, name=f"each_{one.node_name}", inner=one, at_once=at_once, key=key)


def repeat(
    inner: Callable[Concatenate[T, P], T], /, *, until: Callable[[T], bool], at_most: int
) -> Step[Concatenate[T, P], T]:
    """A step that runs `inner` on its own result until `until` holds, `at_most` times.

    When it never holds, ``on_fail`` decides; by default the last value is taken, marked as best.
    """
    one = _as_step(inner, "repeat(...)")
    if type(at_most) is not int or at_most < 1:
        raise UsageError(f"repeat({one.name}, at_most={at_most}): write a whole number, 1 or more")
    _plain_function(until, f"repeat({one.name}, until=...)")
    if not one.params:
        raise TraceError(f"repeat({one.name}): {one.name} takes no input; its first must be what it returns")
    first = one.params[0]
    if not types.assignable(one.returns, first.annotation):
        got, wanted = types.describe(one.returns), types.describe(first.annotation)
        raise TraceError(
            f"repeat({one.name}): it returns {got}, and its first input {first.name!r} takes {wanted}; each round is "
            f"given what the last one returned.{place(one.fn) if one.fn is not None else ''}"
        )
    signature = Signature(one.params, one.returns, False)
    return Step("repeat", None, signature, name=f"repeat_{one.node_name}", inner=one, until=until, at_most=at_most)
