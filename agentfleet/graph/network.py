"""A DAG as networkx sees it: one edge a dependency, with how it depends. For checks, drawing and layout only.

Running a graph needs none of this; networkx is imported at first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentfleet.graph.dag import Dag, Expr, Input, Out, When, children, reads
from agentfleet.graph.trace import show

if TYPE_CHECKING:
    import networkx as nx

RESULT = ("result", "")
"""The vertex of a graph's result."""

Vertex: TypeAlias = tuple[str, str]
"""("input", name), ("node", id) or `RESULT`: an input and a node may have the same name."""

How: TypeAlias = Literal["data", "condition", "branch", "decides", "order"]
_STRENGTH: dict[How, int] = {"data": 0, "condition": 1, "branch": 2, "decides": 3, "order": 4}


@dataclass(frozen=True, slots=True)
class Link:
    """One dependency. `how`: data is always needed, as is what a condition reads; a branch only when it is taken
    (`text` says when). decides: the source says whether the target runs. order only means "after".
    """

    source: Vertex
    target: Vertex
    how: How = "data"
    text: str = ""


def links(dag: Dag) -> list[Link]:
    """Every pair of vertices that depend on each other, once, with the strongest way in which they do."""
    return _strongest(_all_links(dag))


def drawn_links(dag: Dag) -> list[Link]:
    """The same, and which node decides whether another runs at all, where that is another's only use."""
    import networkx as nx

    found = links(dag)
    graph = nx.DiGraph([(link.source, link.target) for link in found])
    needed = {link.source for link in found if link.how != "branch"}
    decided = [
        link
        for expr in _wholes(dag)
        for link in _decisions(expr)
        if link.target not in needed and not nx.has_path(graph, link.target, link.source)
    ]
    said = {(link.target, link.text) for link in decided}
    plain = [replace(link, text="") if (link.source, link.text) in said else link for link in found]
    return _strongest([*plain, *decided])


def _strongest(every: Iterable[Link]) -> list[Link]:
    found: dict[tuple[Vertex, Vertex], Link] = {}
    for link in every:
        pair = (link.source, link.target)
        if pair not in found or _STRENGTH[link.how] < _STRENGTH[found[pair].how]:
            found[pair] = link
    return list(found.values())


def _wholes(dag: Dag) -> Iterator[Expr]:
    for node in dag.nodes.values():
        yield from node.bindings.values()
    yield dag.result


def _decisions(expr: Expr) -> Iterator[Link]:
    if isinstance(expr, When):
        condition = show(expr.condition)
        for branch, text in ((expr.value, condition), (expr.otherwise, f"not ({condition})")):
            for source in reads(expr.condition):
                yield from (Link(("node", source), ("node", name), "decides", text) for name in reads(branch))
    for child in children(expr):
        yield from _decisions(child)


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


def network(dag: Dag, edges: Iterable[Link]) -> nx.DiGraph[Vertex]:
    """A networkx graph of a DAG's inputs, nodes and result, with these edges."""
    import networkx as nx

    found: nx.DiGraph[Vertex] = nx.DiGraph()
    found.add_nodes_from(("input", name) for name in dag.inputs)
    found.add_nodes_from(("node", name) for name in dag.nodes)
    found.add_node(RESULT)
    found.add_edges_from((link.source, link.target) for link in edges)
    return found


def layers(dag: Dag) -> list[list[Vertex]]:
    """Vertices by generation: each layer depends on earlier ones only. The result stands last, alone."""
    import networkx as nx

    found = [[v for v in layer if v != RESULT] for layer in nx.topological_generations(network(dag, drawn_links(dag)))]
    return [*(layer for layer in found if layer), [RESULT]]


def structure_problems(dag: Dag) -> list[str]:
    """Cycles, edges from nowhere, and nodes that neither the result nor an effect needs. Empty for traced graphs."""
    import networkx as nx

    graph = network(dag, links(dag))
    known: set[Any] = {RESULT, *(("input", name) for name in dag.inputs), *(("node", name) for name in dag.nodes)}
    problems = [f"{dag.name}: it reads {name!r}, and there is no such {kind}" for kind, name in set(graph) - known]
    if not nx.is_directed_acyclic_graph(graph):
        loop = " → ".join(source[1] for source, _ in nx.find_cycle(graph))
        return [*problems, f"{dag.name}: {loop} wait for each other; a graph has no cycles"]
    needed = nx.ancestors(graph, RESULT)
    idle = [name for name in dag.nodes if ("node", name) not in needed]
    return problems + ([f"{dag.name}: nothing reads {', '.join(idle)}"] if idle else [])
