"""Under which conditions a node runs at all: that it runs tells about the data that a `when` decides on.

Who sees a call under a `when` learns how the condition came out, so the call is as sensitive as the condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentfleet.graph.dag import Dag, Expr, Out, When, children, has_when

Conditions = Mapping[str, tuple[Expr, ...]]


def conditions(dag: Dag) -> Conditions:
    """The conditions that decide whether a node runs, by node id; a node that runs in any case does not stand there.

    A node that is read under several conditions gets them all. Computed once per graph.
    """
    found: Conditions | None = vars(dag).get("_conditions")
    if found is None:
        found = vars(dag)["_conditions"] = _conditions(dag)
    return found


def _conditions(dag: Dag) -> Conditions:
    if not has_when(dag.result) and not any(dag.conditional.values()):
        return {}
    always, under = set(dag.roots), dict[str, dict[int, Expr]]()

    def read(expr: Expr, above: tuple[Expr, ...]) -> None:
        for node_id, tests in _read(expr, above):
            under.setdefault(node_id, {}).update((id(test), test) for test in tests)
            if not tests:
                always.add(node_id)

    read(dag.result, ())
    for node in reversed(list(dag.nodes.values())):  # a node stands behind all that it reads
        above = () if node.id in always else tuple(under.get(node.id, {}).values())
        for expr in (*node.bindings.values(), *map(Out, node.after)):
            read(expr, above)
    return {node_id: tuple(tests.values()) for node_id, tests in under.items() if node_id not in always}


def _read(expr: Expr, above: tuple[Expr, ...]) -> Iterator[tuple[str, tuple[Expr, ...]]]:
    """Every node that an expression may read, with the conditions under which it does."""
    if isinstance(expr, Out):
        yield expr.node, above
    elif isinstance(expr, When):
        yield from _read(expr.condition, above)
        for branch in (expr.value, expr.otherwise):
            yield from _read(branch, (*above, expr.condition))
    else:
        for child in children(expr):
            yield from _read(child, above)
