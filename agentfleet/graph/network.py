"""A DAG as networkx sees it: one edge a dependency, with how it depends. For checks, drawing and layout only.

Running a graph needs none of this; networkx is imported at first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentfleet.graph.dag import Dag, Expr, Input, Out, When, children
from agentfleet.graph.trace import show

if TYPE_CHECKING:
    import networkx as nx

RESULT = ("result", "")
"""The vertex of a graph's result."""

Vertex: TypeAlias = tuple[str, str]
"""("input", name), ("node", id) or `RESULT`: an input and a node may have the same name."""

How: TypeAlias = Literal["data", "condition", "branch", "order"]
_STRENGTH: dict[How, int] = {"data": 0, "condition": 1, "branch": 2, "order": 3}


@dataclass(frozen=True, slots=True)
class Link:
    """One dependency. `how`: data is always needed, a condition decides, a branch is needed only when it is taken
    (`text` says when), order only means "after"."""

    source: Vertex
    target: Vertex
    how: How = "data"
    text: str = ""


def links(dag: Dag) -> list[Link]:
    """Every pair of vertices that depend on each other, once, with the strongest way in which they do."""
    found: dict[tuple[Vertex, Vertex], Link] = {}
    for link in _all_links(dag):
        pair = (link.source, link.target)
        if pair not in found or _STRENGTH[link.how] < _STRENGTH[found[pair].how]:
            found[pair] = link
    return list(found.values())


def _all_links(dag: Dag) -> Iterator[Link]:
    for node in dag.nodes.values():
        target = ("node", node.id)
        for expr in node.bindings.values():
            yield from _links_of(expr, target, "data", "")
        for earlier in node.after:
            yield Link(("node", earlier), target, "order", "then")
    yield from _links_of(dag.result, RESULT, "data", "")
    for root in dag.roots:
        yield Link(("node", root), RESULT, "order")


def _links_of(expr: Expr, target: Vertex, how: How, text: str) -> Iterator[Link]:
    if isinstance(expr, Input):
        yield Link(("input", expr.name), target, how, text)
    elif isinstance(expr, Out):
        yield Link(("node", expr.node), target, how, text)
    elif isinstance(expr, When):
        condition = show(expr.condition)
        yield from _links_of(expr.condition, target, how if how == "branch" else "condition", text)
        yield from _links_of(expr.value, target, "branch", condition)
        yield from _links_of(expr.otherwise, target, "branch", f"not ({condition})")
    else:
        for child in children(expr):
            yield from _links_of(child, target, how, text)


def network(dag: Dag) -> nx.DiGraph[Vertex]:
    """The DAG with inputs and result as vertices; each edge has its `Link` as attribute ``link``."""
    import networkx as nx

    found: nx.DiGraph[Vertex] = nx.DiGraph()
    found.add_nodes_from(("input", name) for name in dag.inputs)
    found.add_nodes_from(("node", name) for name in dag.nodes)
    found.add_node(RESULT)
    for link in links(dag):
        found.add_edge(link.source, link.target, link=link)
    return found


def layers(dag: Dag) -> list[list[Vertex]]:
    """Vertices by generation: each layer depends on earlier ones only. The result stands last, alone."""
    import networkx as nx

    found = [[v for v in layer if v != RESULT] for layer in nx.topological_generations(network(dag))]
    return [*(layer for layer in found if layer), [RESULT]]


def structure_problems(dag: Dag) -> list[str]:
    """Cycles, edges from nowhere, and nodes that neither the result nor an effect needs. Empty for traced graphs."""
    import networkx as nx

    graph = network(dag)
    known: set[Any] = {RESULT, *(("input", name) for name in dag.inputs), *(("node", name) for name in dag.nodes)}
    problems = [f"{dag.name}: it reads {name!r}, and there is no such {kind}" for kind, name in set(graph) - known]
    if not nx.is_directed_acyclic_graph(graph):
        loop = " → ".join(source[1] for source, _ in nx.find_cycle(graph))
        return [*problems, f"{dag.name}: {loop} wait for each other; a graph has no cycles"]
    needed = nx.ancestors(graph, RESULT)
    idle = [name for name in dag.nodes if ("node", name) not in needed]
    return problems + ([f"{dag.name}: nothing reads {', '.join(idle)}"] if idle else [])
