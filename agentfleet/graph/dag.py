"""The DAG that tracing yields: expressions over inputs and node outputs, nodes, and what each waits for.

Data and pure functions only: no tracing here, no execution.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

OPERATORS: dict[str, Callable[..., Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": operator.and_,
    "|": operator.or_,
}
"""What may be computed on step values while wiring; everything else belongs into a step."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the graph."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    """A value known when the graph was traced."""

    value: Any


@dataclass(frozen=True, slots=True)
class Out:
    """The output of a node of the same graph."""

    node: str


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute of another expression's value, e.g. ``found.order_id``."""

    of: Expr
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """A constant index or key of another expression's value."""

    of: Expr
    key: int | str


@dataclass(frozen=True, slots=True)
class Op:
    """A comparison or a logical & / | ; `name` is a key of `OPERATORS`."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """A list, tuple or dict with step values in it. `keys` is set for a dict; `kind` list, tuple or dict."""

    kind: str
    items: tuple[Expr, ...]
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """`value` if `condition` else `otherwise`; only the branch taken is demanded."""

    condition: Expr
    value: Expr
    otherwise: Expr


Expr: TypeAlias = Input | Const | Out | Field | Item | Op | Pack | When


@dataclass(frozen=True, slots=True)
class Node:
    """One use of a step in a graph. `bindings` maps every parameter that is passed to its expression.

    `after`: ids of nodes that must have ended before this one begins, though it reads nothing of them.
    """

    id: str
    step: Step[..., Any]
    bindings: Mapping[str, Expr]
    line: int = 0
    file: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dag:
    """A traced graph. `roots`: ids of effect nodes that nothing reads (they run all the same)."""

    name: str
    nodes: Mapping[str, Node]
    result: Expr
    roots: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    depends: Mapping[str, tuple[str, ...]] = field(init=False)
    conditional: Mapping[str, bool] = field(init=False)

    def __post_init__(self) -> None:
        depends = {n.id: tuple(dict.fromkeys((*waited_for(n), *n.after))) for n in self.nodes.values()}
        conditional = {n.id: any(has_when(e) for e in n.bindings.values()) for n in self.nodes.values()}
        object.__setattr__(self, "depends", depends)
        object.__setattr__(self, "conditional", conditional)


def waited_for(node: Node) -> Iterator[str]:
    """Ids of the nodes that a node may read, repeats included."""
    for expr in node.bindings.values():
        yield from reads(expr)


def children(expr: Expr) -> Sequence[Expr]:
    """The expressions directly inside one."""
    if isinstance(expr, (Field, Item)):
        return (expr.of,)
    if isinstance(expr, Op):
        return expr.args
    if isinstance(expr, Pack):
        return expr.items
    if isinstance(expr, When):
        return (expr.condition, expr.value, expr.otherwise)
    return ()


def reads(expr: Expr) -> Iterator[str]:
    """Ids of the nodes that an expression may read, branches of `When` included."""
    if isinstance(expr, Out):
        yield expr.node
    for child in children(expr):
        yield from reads(child)


def has_when(expr: Expr) -> bool:
    """Does an expression branch anywhere?"""
    return isinstance(expr, When) or any(has_when(child) for child in children(expr))


def missing(expr: Expr, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> set[str]:
    """Ids of the nodes that must still run before `evaluate` can answer, as far as can be known now."""
    if isinstance(expr, Out):
        return set() if expr.node in values else {expr.node}
    if isinstance(expr, When):
        first = missing(expr.condition, values, inputs)
        if first:
            return first
        taken = expr.value if evaluate(expr.condition, values, inputs) else expr.otherwise
        return missing(taken, values, inputs)
    found: set[str] = set()
    for child in children(expr):
        found |= missing(child, values, inputs)
    return found


def evaluate(expr: Expr, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """The value of an expression; every node that it reads must be in `values`."""
    if isinstance(expr, Out):
        return values[expr.node]
    if isinstance(expr, Input):
        return inputs[expr.name]
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Field):
        return getattr(evaluate(expr.of, values, inputs), expr.name)
    if isinstance(expr, Item):
        return evaluate(expr.of, values, inputs)[expr.key]
    if isinstance(expr, Op):
        return OPERATORS[expr.name](*(evaluate(arg, values, inputs) for arg in expr.args))
    if isinstance(expr, When):
        taken = expr.value if evaluate(expr.condition, values, inputs) else expr.otherwise
        return evaluate(taken, values, inputs)
    members = [evaluate(item, values, inputs) for item in expr.items]
    if expr.kind == "dict":
        return dict(zip(expr.keys, members, strict=True))
    return tuple(members) if expr.kind == "tuple" else members


def sources(expr: Expr, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[Out | Input]:
    """What an evaluated expression in fact rested on (the condition and the branch taken): for labels."""
    if isinstance(expr, (Out, Input)):
        yield expr
    elif isinstance(expr, When):
        yield from sources(expr.condition, values, inputs)
        taken = expr.value if evaluate(expr.condition, values, inputs) else expr.otherwise
        yield from sources(taken, values, inputs)
    else:
        for child in children(expr):
            yield from sources(child, values, inputs)
