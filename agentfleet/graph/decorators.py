"""The decorators: `extract`, `classify`, `summarise`, `plan` make skills; `step` plain ones; `graph` traces."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from agentfleet.errors import SchemaError, TraceError
from agentfleet.graph import types
from agentfleet.graph.lint import lint_graph, lint_skill
from agentfleet.graph.plan import Plan
from agentfleet.graph.signature import Signature, constructor, place, read_class, read_signature
from agentfleet.graph.skill import instruction_of
from agentfleet.graph.step import Graph, Kind, Planner, Step
from agentfleet.graph.trace import current
from agentfleet.graph.tracing import refuse_closure, trace_graph
from agentfleet.labels import LEVELS

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Examples: TypeAlias = Path | str | Sequence[tuple[Mapping[str, Any], Any]] | None
Prompt: TypeAlias = str | Path | None


def extract(
    *,
    tier: str,
    up_to: str | None = None,
    prompt: Prompt = None,
    examples: Examples = None,
    releases: str | None = None,
    split: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """A skill that reads fields out of its inputs: the return type is what is filled.

    `tier`: where it starts; `up_to`: how far it may climb. `prompt`: the instruction, instead of the docstring.
    `examples`: pairs, or a file of rows. `releases`: label level of its output. `split`: an input that is too long for
    a model is put to it in parts, and what was found in them is put together. Raises TraceError, SchemaError.
    """
    return lambda fn: _skill("extract", fn, tier, up_to, prompt, examples, releases, split=split)


def summarise(
    *,
    tier: str,
    up_to: str | None = None,
    prompt: Prompt = None,
    examples: Examples = None,
    releases: str | None = None,
    grounded: bool = True,
    split: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """A skill that writes text, or a model with text in it.

    `grounded`: its numbers, dates, times, codes and addresses must stand in what the model reads. `split`: an input
    that is too long for a model is summed up in parts, and the summaries are summed up. Else as `extract`.
    """
    return lambda fn: _skill("summarise", fn, tier, up_to, prompt, examples, releases, grounded=grounded, split=split)


def classify(
    *,
    tier: str,
    up_to: str | None = None,
    min_confidence: float | None = None,
    prompt: Prompt = None,
    examples: Examples = None,
    releases: str | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """A skill that decides between options: Literal, Enum, bool, levels, optional of these, or a model of such.

    `min_confidence`: least share of the greatest option, 0 to 1; below it the step climbs. Else as `extract`.
    """
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise TraceError(f"classify(min_confidence={min_confidence!r}): write a share between 0 and 1")
    return lambda fn: _skill("classify", fn, tier, up_to, prompt, examples, releases, min_confidence)


def plan(
    *,
    tier: str,
    tools: Sequence[Step[..., Any]],
    up_to: str | None = None,
    at_most: int = 8,
    prompt: Prompt = None,
    examples: Examples = None,
    releases: str | None = None,
) -> Callable[[Callable[P, Plan[T]]], Planner[P, T]]:
    """A skill that plans: which of `tools`, on what. At most `at_most` steps; ``carry_out`` does what it says."""

    def decorate(fn: Callable[P, Plan[T]]) -> Planner[P, T]:
        signature = _skill_signature(fn)
        if types.origin(signature.returns) is not Plan:
            got = types.describe(signature.returns)
            raise TraceError(f"{_name(fn)}: a planner returns Plan[T], not {got}.{place(fn)}")
        _check_tools(_name(fn), tools, at_most, fn)
        _check_result(_name(fn), tools, signature.returns, fn)
        common = _common(fn, tier, up_to, prompt, examples, releases)
        return Planner("plan", fn, signature, tools=tools, at_most=at_most, **common)

    return decorate


def _check_tools(name: str, tools: Sequence[Any], at_most: int, fn: Any) -> None:
    if not tools or at_most < 1:
        raise TraceError(f"{name}: a planner needs at least one tool and at_most=1 or more.{place(fn)}")
    for tool in tools:
        if not isinstance(tool, Step):
            raise TraceError(f"{name}: the tool {tool!r} is no step; mark it with @step.{place(fn)}")
    names = [tool.name for tool in tools]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise TraceError(f"{name}: two tools are called {twice[0]!r}; rename one.{place(fn)}")


def _check_result(name: str, tools: Sequence[Step[..., Any]], returns: Any, fn: Any) -> None:
    """Some tool must return what the plan is to yield (or a member of it, where that is a list)."""
    wanted = (types.arguments(returns) or (Any,))[0]
    parts = [wanted, types.element(wanted)] if types.origin(wanted) is list else [wanted]
    if not any(types.assignable(tool.returns, part) for tool in tools for part in parts):
        have = ", ".join(f"{tool.name} -> {types.describe(tool.returns)}" for tool in tools)
        raise TraceError(f"{name}: no tool returns {types.describe(wanted)}, so no plan can ({have}).{place(fn)}")


class StepDecorator(Protocol):
    """What ``step(...)`` with options returns: works on sync and async functions."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(fn: Callable[P, Awaitable[R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(*, effect: bool = ..., releases: str | None = ...) -> StepDecorator: ...
def step(fn: Any = None, /, *, effect: bool = False, releases: str | None = None) -> Any:
    """A step in plain Python, sync or async; ``step(Model)`` is a typed constructor.

    `effect`: it changes something outside, so it runs though nothing reads it, and is on record before it begins.
    `releases`: the label level of its output, after it has removed what was sensitive.
    """
    if fn is None:
        return lambda inner: step_of(inner, effect, releases)
    return step_of(fn, effect, releases)


def step_of(fn: Any, effect: bool, releases: str | None) -> Step[..., Any]:
    """A plain step. Raises TraceError."""
    if isinstance(fn, Step):
        raise TraceError(f"{fn.name} is a {fn.kind} already")
    if not callable(fn):
        raise TraceError(f"@step marks a function or a class, not {type(fn).__name__}")
    _check_level(releases, _name(fn))
    if isinstance(fn, type):
        fields = Signature(read_class(fn), fn, False)
        _recordable(fields, fn)
        return Step("step", constructor(fn), fields, effect=effect, releases=releases)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TraceError(f"{_name(fn)}: a step gives one value; return a list instead of yield.{place(fn)}")
    signature = read_signature(fn, _name(fn))
    refuse_closure(fn, _name(fn), current.get())
    _recordable(signature, fn)
    return Step("step", fn, signature, effect=effect, releases=releases)


def _recordable(signature: Signature, fn: Any) -> None:
    from agentfleet.schema import codec

    for where, annotation in [*((p.name, p.annotation) for p in signature.params), ("its return", signature.returns)]:
        try:
            codec(annotation)
        except SchemaError as error:
            raise TraceError(f"{_name(fn)}, {where}: {error}.{place(fn)}") from None


def graph(fn: Callable[P, R]) -> Graph[P, R]:
    """Trace a function once into a DAG of steps. Raises TraceError with graph and line for what cannot be wired."""
    name = _name(fn)
    if inspect.iscoroutinefunction(fn):
        raise TraceError(f"{name}: a graph is traced, not awaited: write def.{place(fn)}")
    signature = read_signature(fn, name, "graph")
    refuse_closure(fn, name, current.get(), wires=True)
    lint_graph(fn, name)
    made: Graph[P, R] = Graph("graph", fn, signature)
    made.dag = trace_graph(fn, name, signature)
    return made


def _skill(  # its return is Any: the decorators' own signatures say what P and R are
    kind: Kind,
    fn: Any,
    tier: str,
    up_to: str | None,
    prompt: Prompt,
    examples: Examples,
    releases: str | None,
    min_confidence: float | None = None,
    grounded: bool = False,
    split: bool = False,
) -> Any:
    signature = _skill_signature(fn)
    common = _common(fn, tier, up_to, prompt, examples, releases) | {"grounded": grounded, "split": split}
    made: Step[..., Any] = Step(kind, fn, signature, min_confidence=min_confidence, **common)
    try:
        made.output  # noqa: B018 -- built now, so that a type no model can be held to is refused when decorated
        if split and kind == "extract":
            from agentfleet.split import part_output

            part_output(signature.returns, made.name)
        _recordable(signature, fn)
    except SchemaError as error:
        raise SchemaError(f"{error}{place(fn)}") from None
    return made


def _skill_signature(fn: Any) -> Signature:
    name = _name(fn)
    if inspect.iscoroutinefunction(fn):
        raise TraceError(f"{name}: a skill's body only says what the model reads: write def, not async def.{place(fn)}")
    if not inspect.isfunction(fn):
        raise TraceError(f"{name}: a skill is a function, not {type(fn).__name__}")
    signature = read_signature(fn, name, "skill")
    refuse_closure(fn, name, current.get())
    lint_skill(fn, name)
    return signature


def _common(
    fn: Any, tier: str, up_to: str | None, prompt: Prompt, examples: Examples, releases: str | None
) -> dict[str, Any]:
    name = _name(fn)
    for what, value in (("tier", tier), ("up_to", up_to)):
        if value is not None and not (isinstance(value, str) and value):
            raise TraceError(f"{name}: {what}={value!r} is no tier; write its name, e.g. 'small'.{place(fn)}")
    _check_level(releases, name)
    instruction = instruction_of(fn, name, prompt)
    return {"instruction": instruction, "tier": tier, "up_to": up_to, "examples": examples, "releases": releases}


def _check_level(level: str | None, name: str) -> None:
    if level is not None and level not in LEVELS:
        raise TraceError(f"{name}: releases={level!r} is no label level; known: {', '.join(LEVELS)}")


def _name(fn: Any) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))
