"""A graph for people and for other programs: Mermaid text, SVG, and its structure as JSON-able data.

All drawings say the same things: tiers as colours, effects and waits marked, what hangs on a ``when`` dashed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentfleet.graph import types
from agentfleet.graph.dag import Const, Dag, Expr, Field, Input, Item, Node, Op, Out, Pack, When
from agentfleet.graph.network import RESULT, Link, Vertex, drawn_links, layers
from agentfleet.graph.options import UNSET

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

COLOURS = {
    "": "#f2f2f2",
    "nano": "#d9f0d3",
    "small": "#cfe8f3",
    "large": "#fde6b3",
    "frontier": "#f6c9c2",
    "person": "#e2d4f0",
}
"""Fill of a box by tier; "" is plain code. Other tiers take one of `MORE`."""
MORE = ("#dfe3b4", "#bfe3d8", "#f3d3e6", "#d3d8f5")
MARKS = {"effect": "effect", "waits": "may wait for a person"}
_UNSAFE = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Card:
    """One box: what it is called, a line about it, the tier that colours it, and its marks."""

    vertex: Vertex
    title: str
    note: str = ""
    tier: str = ""
    marks: tuple[str, ...] = ()


def cards(graph: Step[..., Any]) -> dict[Vertex, Card]:
    """The boxes of a graph: inputs, nodes, result."""
    found = [Card(("input", p.name), p.name, types.describe(p.annotation)) for p in graph.params]
    found += [_card(node) for node in dag_of(graph).nodes.values()]
    found.append(Card(RESULT, "result", types.describe(graph.returns)))
    return {card.vertex: card for card in found}


def dag_of(graph: Step[..., Any]) -> Dag:
    """The DAG of a graph step."""
    dag: Dag = graph.dag  # type: ignore[attr-defined]
    return dag


def _card(node: Node) -> Card:
    step = node.step
    tier = (step.options.tier or step.tier or "") if step.is_skill else ""
    ladder = f"{tier} to {step.up_to}" if step.up_to and step.up_to != tier else tier
    what = [f"{step.kind} of {step.name}" if node.id != step.name else step.kind, *([ladder] if ladder else [])]
    marks = (*(["effect"] if step.has_effects else []), *(["waits"] if "person" in (tier, step.up_to) else []))
    return Card(("node", node.id), node.id, ", ".join(what), tier, marks)


def colour(tier: str) -> str:
    """The fill of a tier: the same in every drawing."""
    return COLOURS.get(tier) or MORE[sum(tier.encode()) % len(MORE)]


def graph_hash(graph: Step[..., Any]) -> str:
    """A digest of the whole graph; another one as soon as what any of its nodes does is another."""
    return graph.base_fingerprint


def svg(graph: Step[..., Any]) -> str:
    """The graph as an SVG document of its own: no script, no font, no reference outside."""
    from agentfleet.graph.picture import picture

    dag = dag_of(graph)
    return picture(graph.name, cards(graph), layers(dag), drawn_links(dag))


# -- Mermaid -----------------------------------------------------------------------------------------------------------


def mermaid(graph: Step[..., Any]) -> str:
    """The graph as a Mermaid flowchart."""
    boxes = cards(graph)
    names = _identifiers(boxes)
    lines = ["flowchart TD"]
    lines += [f"    {names[v]}{_box(card)}" for v, card in boxes.items()]
    lines += [f"    {_arrow(link, names)}" for link in drawn_links(dag_of(graph))]
    for tier in dict.fromkeys(card.tier for card in boxes.values() if card.vertex[0] == "node"):
        members = ",".join(names[v] for v, c in boxes.items() if v[0] == "node" and c.tier == tier)
        label = f"tier_{_UNSAFE.sub('_', tier)}" if tier else "code"
        lines.append(f"    classDef {label} fill:{colour(tier)},stroke:#555,color:#111")
        lines.append(f"    class {members} {label}")
    return "\n".join([*lines, *_mark_styles(boxes, names)]) + "\n"


def _mark_styles(boxes: Mapping[Vertex, Card], names: Mapping[Vertex, str]) -> list[str]:
    styles = {"effect": "stroke-width:4px", "waits": "stroke-dasharray:6 3"}
    marked = {names[v]: ",".join(styles[mark] for mark in card.marks) for v, card in boxes.items() if card.marks}
    return [f"    style {name} {style}" for name, style in marked.items()]


def _identifiers(boxes: Mapping[Vertex, Card]) -> dict[Vertex, str]:
    """Names that Mermaid takes; two that would fall together get a number."""
    found: dict[Vertex, str] = {}
    taken: set[str] = set()
    for kind, name in boxes:
        base = f"{kind}_{_UNSAFE.sub('_', name)}" if name else kind
        plain, number = base, 2
        while plain in taken:
            plain, number = f"{base}_{number}", number + 1
        taken.add(plain)
        found[(kind, name)] = plain
    return found


def _box(card: Card) -> str:
    lines = [card.title, card.note, *(MARKS[mark] for mark in card.marks)]
    text = "<br/>".join(_mermaid_text(line) for line in lines if line)
    return f'(["{text}"])' if card.vertex[0] != "node" else f'["{text}"]'


def _arrow(link: Link, names: Mapping[Vertex, str]) -> str:
    arrow = "-->" if link.how in ("data", "condition") else "-.->"
    text = f'|"{_mermaid_text(link.text)}"|' if link.text else ""
    return f"{names[link.source]} {arrow}{text} {names[link.target]}"


def _mermaid_text(text: str) -> str:
    """Text inside quotes: what Mermaid or HTML would read as its own becomes an entity."""
    plain = " ".join(text.split())
    return "".join(c if c.isalnum() or c in " .,:=!()'/_-" else f"#{ord(c)};" for c in plain)


# -- data --------------------------------------------------------------------------------------------------------------


def to_dict(graph: Step[..., Any]) -> dict[str, Any]:
    """The structure as JSON-able data; graphs and steps inside stand under ``inner``."""
    dag = dag_of(graph)
    return {
        "name": graph.name,
        "hash": graph_hash(graph),
        "inputs": [_input(p) for p in graph.params],
        "returns": types.describe(graph.returns),
        "nodes": [_node(node) for node in dag.nodes.values()],
        "result": _expr(dag.result),
        "effects": list(dag.roots),
    }


def _input(param: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": param.name, "type": types.describe(param.annotation), "required": param.required}
    return {**found, "label": param.label.to_json()} if param.label is not None else found


def _node(node: Node) -> dict[str, Any]:
    inputs = {name: _expr(expr) for name, expr in node.bindings.items()}
    return {"id": node.id, "line": node.line, **_step(node.step), "inputs": inputs, "after": list(node.after)}


def _step(step: Step[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": step.kind, "step": step.name, "returns": types.describe(step.returns)}
    optional = {
        "tier": step.options.tier or step.tier,
        "up_to": step.up_to,
        "model": step.options.model,
        "min_confidence": step.min_confidence,
        "releases": step.releases,
        "at_most": step.at_most,
        "on_fail": None if step.options.on_fail is UNSET else _plain(step.options.on_fail),
        "tools": [tool.name for tool in step.tools] or None,
    }
    found |= {key: value for key, value in optional.items() if value is not None}
    if step.has_effects:
        found["effect"] = True
    if step.kind == "graph":
        found["inner"] = to_dict(step)
    elif step.inner is not None and step.kind != "carry_out":
        found["inner"] = to_dict(step.inner) if step.inner.kind == "graph" else _step(step.inner)
    return found


def _expr(expr: Expr) -> dict[str, Any]:
    if isinstance(expr, Input):
        return {"input": expr.name}
    if isinstance(expr, Out):
        return {"node": expr.node}
    if isinstance(expr, Const):
        return {"value": _plain(expr.value)}
    if isinstance(expr, Field):
        return {"of": _expr(expr.of), "field": expr.name}
    if isinstance(expr, Item):
        return {"of": _expr(expr.of), "item": expr.key}
    if isinstance(expr, Op):
        return {"operator": expr.name, "arguments": [_expr(arg) for arg in expr.args]}
    if isinstance(expr, When):
        branches = {"then": _expr(expr.value), "otherwise": _expr(expr.otherwise)}
        return {"when": _expr(expr.condition), **branches}
    assert isinstance(expr, Pack)
    keys = {"keys": [_plain(key) for key in expr.keys]} if expr.kind == "dict" else {}
    return {expr.kind: [_expr(item) for item in expr.items], **keys}


def _plain(value: Any) -> Any:
    """A constant as JSON data; what has no JSON form is shown as Python writes it."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    try:
        found = to_jsonable_python(value)
        json.dumps(found, allow_nan=False)
    except (PydanticSerializationError, ValueError, TypeError):
        return repr(value)
    return found
