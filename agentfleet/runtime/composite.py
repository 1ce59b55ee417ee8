"""Runs the nodes that hold other nodes: subgraphs, each, repeat, and the carrying out of a plan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agentfleet.errors import StepFailed
from agentfleet.graph.options import UNSET, OnFail
from agentfleet.ids import digest
from agentfleet.labels import PUBLIC, Label, join_all
from agentfleet.runtime.context import Blocked
from agentfleet.runtime.node import Done, Visit, block
from agentfleet.runtime.run import Wait
from agentfleet.runtime.scope import Scope
from agentfleet.runtime.skill import problem_of

Runner = Callable[..., Awaitable[tuple[Any, Label]]]


async def run_composite(visit: Visit, run_node: Runner) -> Done:
    """The value of a graph, each, repeat or carry_out node."""
    kinds = {"graph": _graph, "each": _each, "repeat": _repeat, "carry_out": _carry_out}
    return await kinds[visit.step.kind](visit, run_node)


async def inner(
    visit: Visit, step: Any, inputs: dict[str, Any], label: Label, prefix: str, run_node: Runner
) -> tuple[Any, Label]:
    """Run what stands inside a composite: a graph's nodes lie at `prefix`, a step at ``prefix/name``."""
    if step.kind == "graph" and not step.checks:
        labels = {p.name: label.join(p.label) if p.label else label for p in step.params}
        for param in step.params:
            if param.name not in inputs:
                inputs[param.name] = param.make_default()
        scope = Scope(visit.context, step.dag, inputs, labels, prefix + "/", visit.depth, run_node)
        return await scope.run()
    return await run_node(visit.context, step, inputs, label, f"{prefix}/{step.name}", visit.depth)


async def _graph(visit: Visit, run_node: Runner) -> Done:
    graph: Any = visit.step
    labels = {p.name: visit.label.join(p.label) if p.label else visit.label for p in graph.params}
    scope = Scope(visit.context, graph.dag, visit.inputs, labels, visit.path + "/", visit.depth, run_node)
    value, label = await scope.run()
    problem = await problem_of(visit, value)
    if problem:
        raise StepFailed(f"{visit.path}: a check of the graph refused its result: {problem}", (), value, visit.path)
    return Done(value, label=label)


async def _each(visit: Visit, run_node: Runner) -> Done:
    """One run of the inner step an item, at most `at_once` together; all are tried before a failure is raised."""
    first, *rest = visit.step.params
    shared = {p.name: visit.inputs[p.name] for p in rest}
    item_step = visit.step.inner
    assert item_step is not None
    item_name = item_step.params[0].name
    items = list(visit.inputs[first.name])
    limit = asyncio.Semaphore(visit.step.at_once or max(len(items), 1))
    prefixes = _prefixes(visit, items)

    async def one(item: Any, prefix: str) -> tuple[Any, Label]:
        async with limit:
            return await inner(visit, item_step, {item_name: item, **shared}, visit.label, prefix, run_node)

    results = await _all([one(item, prefix) for item, prefix in zip(items, prefixes, strict=True)])
    return Done([value for value, _ in results], label=join_all((label for _, label in results), visit.label))


async def _all(works: list[Awaitable[tuple[Any, Label]]]) -> list[tuple[Any, Label]]:
    results = await asyncio.gather(*works, return_exceptions=True)
    good = [r for r in results if not isinstance(r, BaseException)]
    bad = [r for r in results if isinstance(r, BaseException)]
    for error in sorted(bad, key=lambda e: isinstance(e, Blocked)):
        raise error
    return good


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
    shared = {p.name: visit.inputs[p.name] for p in rest}
    name = step.inner.params[0].name
    value, label = visit.inputs[first.name], visit.label
    for number in range(1, step.at_most + 1):
        if step.until(value):
            return Done(value, label=label)
        prefix = f"{visit.path}#{number}"
        value, label = await inner(visit, step.inner, {name: value, **shared}, label, prefix, run_node)
    if step.until(value):
        return Done(value, label=label)
    return _exhausted(visit, value, label)


def _exhausted(visit: Visit, value: Any, label: Label) -> Done:
    wish, why = visit.step.options.on_fail, f"{visit.step.at_most} rounds, and its condition never held"
    if wish is OnFail.RAISE:
        raise StepFailed(f"{visit.path}: {why}", (), value, visit.path)
    if wish is OnFail.WAIT:
        schema = {"note": "a value of the type of the step"}
        raise block(visit, Wait(visit.path, "failed", why, visit.step.codec.dump(value), schema), ())
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
    scope = Scope(visit.context, dag, inputs, labels, visit.path + "/", visit.depth, run_node)
    value, label = await scope.run()
    return Done(value, label=label.join(visit.label) if label is not PUBLIC else visit.label)


def _plan_inputs(planner: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {p.name: p.codec.load(json.dumps(given[p.name])) for p in planner.params if p.name in given}
