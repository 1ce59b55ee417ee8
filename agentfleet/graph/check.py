"""What can be known of a graph before anything runs: does data reach only models that may see it, and is it the same
graph each time it is traced? Knows no fleet: who may see what is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agentfleet.graph.conditions import conditions
from agentfleet.graph.dag import Dag, Expr, Input, Node, Out, children, reads
from agentfleet.labels import INTERNAL, PUBLIC, Label

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

Sees: TypeAlias = "Callable[[Step[..., Any]], Sequence[tuple[str, str]]]"
"""(model name, highest level it may see) of each rung of a step; nothing when no model is there yet."""


def label_problems(graph: Step[..., Any], sees: Sees) -> list[str]:
    """One line a step whose data no model of its ladder may see.

    A static upper bound, each input on its own: the value of a ``when`` joins its condition and both branches, and what
    runs only under a condition counts that condition; a step that may run again (repeat, a plan's tools) is given all
    that it may be given. What steps call in their own bodies is only seen when it runs, and refused then.
    """
    walk = _Walk(sees)
    given = {p.name: _Flow(p.label or INTERNAL, (p.name,)) for p in graph.params}
    if graph.kind == "graph":
        walk.dag(graph.dag, given, _Flow(PUBLIC), "")  # type: ignore[attr-defined]
    else:
        walk.step(graph, given, _Flow(PUBLIC), graph.name, f"{graph.file}:{graph.line}")
    return list(walk.problems.values())


def asking(graph: Step[..., Any]) -> dict[str, tuple[Step[..., Any], Label]]:
    """Every step that may ask a model, by its path, with the label of what it reads: the same upper bound."""
    walk = _Walk(lambda step: ())
    given = {p.name: _Flow(p.label or INTERNAL, (p.name,)) for p in graph.params}
    if graph.kind == "graph":
        walk.dag(graph.dag, given, _Flow(PUBLIC), "")  # type: ignore[attr-defined]
    else:
        walk.step(graph, given, _Flow(PUBLIC), graph.name, "")
    return walk.asking


@dataclass(frozen=True, slots=True)
class _Flow:
    """A label and where its level comes from: the names that the data went through."""

    label: Label
    via: tuple[str, ...] = ()

    def join(self, other: _Flow) -> _Flow:
        label = self.label.join(other.label)
        return _Flow(label, self.via if self.label.level == label.level else other.via)

    def through(self, name: str, releases: str | None) -> _Flow:
        return _Flow(self.label.lowered(releases) if releases else self.label, (*self.via, name))


def _joined(flows: Iterable[_Flow]) -> _Flow:
    found = _Flow(PUBLIC)
    for flow in flows:
        found = found.join(flow)
    return found


class _Walk:
    """Carries labels along the edges. `problems` holds the worst one of each path, `asking` what asks models."""

    def __init__(self, sees: Sees) -> None:
        self.sees = sees
        self.problems: dict[str, str] = {}
        self.asking: dict[str, tuple[Step[..., Any], Label]] = {}

    def dag(self, dag: Dag, inputs: Mapping[str, _Flow], base: _Flow, prefix: str) -> _Flow:
        """The flow of the result. `base`: of what decides that the graph runs at all."""
        outs: dict[str, _Flow] = {}
        while self.rises(dag, inputs, base, prefix, outs):
            pass
        return _joined((*_flows(dag.result, outs, inputs), base))

    def rises(self, dag: Dag, inputs: Mapping[str, _Flow], base: _Flow, prefix: str, outs: dict[str, _Flow]) -> bool:
        """Go through the nodes once; True when that was not enough.

        They stand in the order in which they were made, so what a node reads is known. Only the condition that decides
        whether it runs may have been made after it.
        """
        tests, again = conditions(dag), False
        for node in dag.nodes.values():
            over = tests.get(node.id, ())
            again = again or any(name not in outs for test in over for name in reads(test))
            given = {name: _joined(_flows(expr, outs, inputs)) for name, expr in node.bindings.items()}
            under = _joined((base, *(flow for test in over for flow in _flows(test, outs, inputs))))
            out = self.step(node.step, given, under, prefix + node.id, f"{node.file}:{node.line}")
            again = again or (node.id in outs and outs[node.id].label != out.label)
            outs[node.id] = out
        return again

    def step(self, step: Step[..., Any], given: Mapping[str, _Flow], base: _Flow, path: str, place: str) -> _Flow:
        """The flow of a step's value, given that of each input. What is not given is a default: written in the code."""
        each = {p.name: given.get(p.name, _Flow(PUBLIC)) for p in step.params}
        for param in step.params:
            if param.label is not None:
                each[param.name] = each[param.name].join(_Flow(param.label, (f"{path}({param.name})",)))
        joined = _joined((*each.values(), base))
        if step.is_skill:
            self.ask(step, joined, path, place)
        if step.kind == "graph":
            out = self.dag(step.dag, each, base, f"{path}/")  # type: ignore[attr-defined]
        elif step.inner is not None:
            out = self.again(step, step.inner, each, base, path)
        else:
            out = joined
        return out.through(path, None if step.kind == "plan" else step.releases)  # a plan carries its inputs

    def again(
        self, step: Step[..., Any], inner: Step[..., Any], each: Mapping[str, _Flow], base: _Flow, path: str
    ) -> _Flow:
        """each, repeat and carry_out: what is inside may be given its own results, until the level rises no more."""
        first = step.params[0].name
        carried, under = _joined((each[first], base)), base
        if step.kind == "carry_out":
            under = _joined((base, carried.through(path, inner.releases)))
        inside = inner.tools if step.kind == "carry_out" else (inner,)
        while True:
            outs = []
            for part in inside:
                all_of_it = dict.fromkeys((p.name for p in part.params), carried)
                given = {**each, first: carried} if part is inner else all_of_it
                outs.append(self.step(part, given, under, f"{path}/{part.name}", f"{part.file}:{part.line}"))
            after = _joined((carried, *outs))
            if step.kind == "each" or after.label == carried.label:
                return after
            carried = after

    def ask(self, step: Step[..., Any], given: _Flow, path: str, place: str) -> None:
        self.asking[path] = (step, given.label)
        models = self.sees(step)
        if not models or any(given.label.within(limit) for _, limit in models):
            return
        level, shown = given.label.level, ", ".join(f"{name} (up to {limit})" for name, limit in models)
        whence = " → ".join(given.via) or "its inputs"
        self.problems[path] = (
            f"{path} ({place}) reads {level} data (from {whence}), and no model it may use "
            f'may see that: {shown}. Pass it through a @step(releases="{models[0][1]}") that takes out what is '
            f"sensitive, or give {step.name} a model that may see {level} data."
        )


def _flows(expr: Expr, outs: Mapping[str, _Flow], inputs: Mapping[str, _Flow]) -> Iterator[_Flow]:
    """All that an expression may rest on, as far as it is known: conditions and branches too."""
    if isinstance(expr, Out):
        if expr.node in outs:
            yield outs[expr.node]
    elif isinstance(expr, Input):
        yield inputs.get(expr.name, _Flow(INTERNAL, (expr.name,)))
    for child in children(expr):
        yield from _flows(child, outs, inputs)


def retrace_problems(graph: Step[..., Any]) -> list[str]:
    """What is not the same each time the graph is traced (a clock, a random number, the environment), and what its
    structure lacks. Graphs inside it are looked at too."""
    from agentfleet.graph.network import structure_problems

    problems: dict[str, None] = {}
    for one in _graphs(graph):
        dag = one.dag  # type: ignore[attr-defined]
        problems |= dict.fromkeys([*_differences(one, dag), *structure_problems(dag)])
    return list(problems)


def _graphs(step: Step[..., Any]) -> Iterator[Step[..., Any]]:
    seen: set[int] = set()
    waiting = [step]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [*one.tools, *([one.inner] if one.inner is not None else [])]
        if one.kind == "graph":
            yield one
            waiting += [node.step for node in one.dag.nodes.values()]  # type: ignore[attr-defined]


def _differences(graph: Step[..., Any], first: Dag) -> Iterator[str]:
    """The graph as it was traced when it was decorated, against two new tracings."""
    from agentfleet.graph.signature import Signature
    from agentfleet.graph.tracing import trace_graph

    for _ in range(2):
        try:
            second = trace_graph(graph.fn, graph.name, Signature(graph.params, graph.returns, graph.is_async))
        except Exception as error:
            yield f"{graph.name}: it cannot be traced a second time: {error}"
            return
        found = list(_compare(graph.name, first, second))
        yield from found
        if found:
            return


def _compare(name: str, first: Dag, second: Dag) -> Iterator[str]:
    gone = [*(i for i in first.nodes if i not in second.nodes), *(i for i in second.nodes if i not in first.nodes)]
    if gone:
        yield f"{name}: it has not the same nodes each time it is traced ({', '.join(gone)}); {_ADVICE}"
        return
    for node in first.nodes.values():
        yield from _compare_nodes(name, node, second.nodes[node.id])
    if not _same(first.result, second.result):
        yield f"{name}: its result is not the same each time it is traced; {_ADVICE}"


_ADVICE = "what a graph computes while it is traced is frozen. Make it an input, or compute it in a @step"


def _compare_nodes(name: str, first: Node, second: Node) -> Iterator[str]:
    one, other = first.step, second.step
    if one.base_fingerprint != other.base_fingerprint or not _same(one.options, other.options):
        yield f"{name}, line {first.line}: the step {first.id} is not the same each time it is traced; {_ADVICE}"
    for param in {**first.bindings, **second.bindings}:
        before, now = first.bindings.get(param), second.bindings.get(param)
        if not _same(before, now):
            yield f"{name}, line {first.line}: {first.id}({param}=...) is not the same each time; {_ADVICE}"


def _same(one: Any, other: Any) -> bool:
    """Equal, also for objects of classes that do not say what equal means."""
    try:
        if one is other or bool(one == other):
            return True
    except Exception:  # arrays and other values whose comparison is no bool
        return repr(one) == repr(other)
    if type(one) is not type(other):
        return False
    parts, others = _parts(one), _parts(other)
    return parts is not None and others is not None and len(parts) == len(others) and all(map(_same, parts, others))


def _parts(value: Any) -> list[Any] | None:
    """What an object consists of, None for what is one thing."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return [*value, *value.values()]
    if hasattr(value, "__code__"):
        return [value.__code__.co_code, value.__code__.co_consts, value.__defaults__]
    kind: Any = type(value)
    if kind.__eq__ is not object.__eq__ and not hasattr(kind, "__dataclass_fields__"):
        return None
    slots = [name for cls in kind.__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(value, name)]
    held = {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}
    return [kind.__qualname__, *held, *held.values()] if held or slots else []
