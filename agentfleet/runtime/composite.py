"""Runs the nodes that hold other nodes: subgraphs, each, repeat, and the carrying out of a plan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from agentfleet.errors import AgentfleetError, StepFailed
from agentfleet.graph.dag import Dag
from agentfleet.graph.options import UNSET, OnFail
from agentfleet.ids import digest
from agentfleet.labels import PUBLIC, Label, join_all
from agentfleet.runtime.context import Blocked, Interrupted, RunContext
from agentfleet.runtime.judge import problem_of
from agentfleet.runtime.node import ANY_VALUE, RAISED, Done, Visit, block, moved, user_error
from agentfleet.runtime.run import Wait
from agentfleet.runtime.scope import Scope

T = TypeVar("T")
Runner = Callable[..., Awaitable[tuple[Any, Label]]]


async def run_composite(visit: Visit, run_node: Runner) -> Done:
    """The value of a graph, each, repeat or carry_out node."""
    kinds = {"graph": _graph, "each": _each, "repeat": _repeat, "carry_out": _carry_out}
    return await kinds[visit.step.kind](_bound(visit), run_node)


def go_on(context: RunContext) -> None:
    """Before something new is taken up. Raises Interrupted when the run is to end, or why it must."""
    if context.stopping:
        context.check()
        raise Interrupted


async def inner(
    visit: Visit, step: Any, inputs: dict[str, Any], labels: dict[str, Label], prefix: str, run_node: Runner
) -> tuple[Any, Label]:
    """Run what stands inside a composite: a graph's nodes lie at `prefix`, a step at ``prefix/name``."""
    if step.lies_open:
        for param in step.params:
            if param.name not in inputs:
                inputs[param.name] = param.make_default()
        return await _walked(visit, step.dag, inputs, _marked(step, labels), prefix + "/", run_node)
    joined, path = join_all(labels.values(), visit.base), f"{prefix}/{step.name}"
    return await run_node(visit.context, step, inputs, joined, path, visit.depth, labels, visit.base)


async def _walked(
    visit: Visit, dag: Dag, inputs: Mapping[str, Any], labels: Mapping[str, Label], prefix: str, run_node: Runner
) -> tuple[Any, Label]:
    scope = Scope(visit.context, dag, inputs, labels, prefix, visit.depth, run_node, visit.base)
    value, label = await scope.run()
    return value, label.join(visit.base)


def _marked(step: Any, labels: Mapping[str, Label]) -> dict[str, Label]:
    """The label of each input, with what the signature says. A default was written into the code: it is public."""
    return {p.name: labels.get(p.name, PUBLIC).join(p.label or PUBLIC) for p in step.params}


def _each_label(visit: Visit) -> dict[str, Label]:
    """The label of each input. A step called in a body is given what the body knows: one label for all."""
    given = visit.labels
    return _marked(visit.step, dict.fromkeys(visit.inputs, visit.label) if given is None else given)


def _bound(visit: Visit) -> Visit:
    """A visit whose `base` counts: in a body, whether and how a step is called rests on all that the body knows."""
    return visit if visit.labels is not None else moved(visit, base=visit.label)


async def _graph(visit: Visit, run_node: Runner) -> Done:
    dag: Dag = visit.step.dag  # type: ignore[attr-defined]
    value, label = await _walked(visit, dag, visit.inputs, _each_label(visit), visit.path + "/", run_node)
    problem = await problem_of(visit, value)
    if problem:
        raise StepFailed(f"{visit.path}: a check of the graph refused its result: {problem}", (), value, visit.path)
    return Done(value, label=label)


async def asked(visit: Visit, fn: Callable[[], T]) -> T:
    """What the user's `key` or `until` says: in a thread, so that a slow one holds up nobody. Raises StepError."""
    try:
        return await visit.context.pools.run(visit.depth, fn)
    except AgentfleetError:
        raise
    except RAISED as error:
        raise user_error(visit, error) from error


async def _each(visit: Visit, run_node: Runner) -> Done:
    """One run of the inner step an item, at most `at_once` together; all are tried before a failure is raised."""
    first, *rest = visit.step.params
    shared, labels = {p.name: visit.inputs[p.name] for p in rest}, _each_label(visit)
    item_step = visit.step.inner
    assert item_step is not None
    item_name = item_step.params[0].name
    items = list(visit.inputs[first.name])
    limit = asyncio.Semaphore(visit.step.at_once or max(len(items), 1))
    prefixes = await asked(visit, lambda: _prefixes(visit, items))

    async def one(item: Any, prefix: str) -> tuple[Any, Label]:
        async with limit:
            go_on(visit.context)
            return await inner(visit, item_step, {item_name: item, **shared}, labels, prefix, run_node)

    results = await _all([one(item, prefix) for item, prefix in zip(items, prefixes, strict=True)])
    whole = labels[first.name].join(visit.base)  # how many there are, and in which order
    return Done([value for value, _ in results], label=join_all((label for _, label in results), whole))


async def _all(works: list[Awaitable[tuple[Any, Label]]]) -> list[tuple[Any, Label]]:
    results = await asyncio.gather(*works, return_exceptions=True)
    good = [r for r in results if not isinstance(r, BaseException)]
    bad = [r for r in results if isinstance(r, BaseException)]
    for error in sorted(bad, key=_weight):
        raise error
    return good


def _weight(error: BaseException) -> int:
    """Which of several ends counts: a failure before a stop before a wait."""
    return 2 if isinstance(error, Blocked) else int(isinstance(error, Interrupted))


def _prefixes(visit: Visit, items: list[Any]) -> list[str]:
    """``path#KEY`` an item; KEY is `key(item)` or 8 hex digits of its JSON; a second equal item gets ``.2``."""
    step = visit.step
    seen: dict[str, int] = {}
    found: list[str] = []
    assert step.inner is not None
    codec = step.inner.params[0].codec
    for item in items:
        key = str(step.key(item)) if step.key is not None else digest(codec.dump(item))[:8]
        key = key.replace("/", "_").replace("#", "_")
        seen[key] = seen.get(key, 0) + 1
        suffix = f".{seen[key]}" if seen[key] > 1 else ""
        found.append(f"{visit.path}#{key}{suffix}")
    return found


async def _repeat(visit: Visit, run_node: Runner) -> Done:
    """Rounds of the inner step on its own result until `until` holds; `on_fail` decides when it never does."""
    step = visit.step
    assert step.inner is not None and step.until is not None and step.at_most is not None
    first, *rest = step.params
    shared, labels = {p.name: visit.inputs[p.name] for p in rest}, _each_label(visit)
    name = step.inner.params[0].name
    value, label = visit.inputs[first.name], labels[first.name].join(visit.base)
    for number in range(1, step.at_most + 1):
        if await asked(visit, partial(step.until, value)):
            return Done(value, label=label)
        go_on(visit.context)
        given, prefix = {**labels, name: label}, f"{visit.path}#{number}"
        value, label = await inner(visit, step.inner, {name: value, **shared}, given, prefix, run_node)
    if await asked(visit, partial(step.until, value)):
        return Done(value, label=label)
    return _exhausted(visit, value, label)


def _exhausted(visit: Visit, value: Any, label: Label) -> Done:
    wish, why = visit.step.options.on_fail, f"{visit.step.at_most} rounds, and its condition never held"
    if wish is OnFail.RAISE:
        raise StepFailed(f"{visit.path}: {why}", (), value, visit.path)
    if wish is OnFail.WAIT:
        raise block(visit, Wait(visit.path, "failed", why, visit.step.codec.dump(value), ANY_VALUE), ())
    if wish is UNSET or wish is OnFail.BEST:
        return Done(value, model="best", outcome="rejected", label=label)
    return Done(wish, model="default", outcome="rejected", label=label, fallback=True)


async def _carry_out(visit: Visit, run_node: Runner) -> Done:
    """Check the plan again against the allow-list in the code, then walk it as a graph."""
    from agentfleet.graph.plan import compile_plan

    planner = visit.step.inner
    assert planner is not None
    plan = next(iter(visit.inputs.values()))
    dag = compile_plan(planner, plan)
    inputs = _plan_inputs(planner, plan.inputs)
    labels = dict.fromkeys(inputs, visit.label)
    written = visit.label.lowered(planner.releases) if planner.releases else visit.label
    inside = moved(
        visit, base=visit.base.join(written)
    )  # what the planner wrote itself, and that a tool is used at all
    value, label = await _walked(inside, dag, inputs, labels, visit.path + "/", run_node)
    return Done(value, label=label)


def _plan_inputs(planner: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {p.name: p.codec.load(json.dumps(given[p.name])) for p in planner.params if p.name in given}
