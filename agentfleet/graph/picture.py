"""Draws boxes and arrows as SVG: one row a generation, inputs on top, the result at the bottom. No script, no fonts.

Knows cards and links only; what they mean is decided in draw.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from agentfleet.graph.network import Link, Vertex

if TYPE_CHECKING:
    from agentfleet.graph.draw import Card

CHARACTER, PADDING = 7.2, 28
LINE, GAP, ROW, MARGIN = 17, 28, 62, 24
WAY = 12.0
LONGEST = 44
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Box:
    """Where a card stands, or where a long arrow passes between cards; `x`, `y` are its top left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Route:
    """A link and the vertices it goes through; those between its ends are places where nothing else stands."""

    link: Link
    stops: tuple[Vertex, ...]


def picture(name: str, cards: Mapping[Vertex, Card], layers: Sequence[Sequence[Vertex]], links: Sequence[Link]) -> str:
    """The whole SVG document."""
    rows, routes = _routed(layers, links)
    legend = _legend(cards, links)
    least = max((26 + CHARACTER * len(content) for _, content in legend), default=0)
    boxes, width, height = _layout(cards, _ordered(rows, routes), least)
    total = height + LINE * len(legend) + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {total:.0f}" '
        f'width="{width:.0f}" height="{total:.0f}" font-family="ui-sans-serif, system-ui, sans-serif" font-size="13">'
    )
    marker = (
        '<defs><marker id="af-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
    )
    ground = f'<rect width="{width:.0f}" height="{total:.0f}" fill="#ffffff"/>'
    arrows = [part for route in routes for part in _arrow(route, boxes)]
    shapes = [part for vertex, card in cards.items() for part in _shape(card, boxes[vertex])]
    body = [head, f"<title>{safe(name)}</title>", marker, ground, *arrows, *shapes, *_legend_shapes(legend, height)]
    return "\n".join([*body, "</svg>"]) + "\n"


def safe(raw: str) -> str:
    """Text that is safe inside an SVG element or attribute."""
    return escape(_NOT_XML.sub("\ufffd", raw), quote=True)


def short(raw: str) -> str:
    """One line of at most `LONGEST` characters."""
    line = " ".join(raw.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _routed(layers: Sequence[Sequence[Vertex]], links: Sequence[Link]) -> tuple[list[list[Vertex]], list[Route]]:
    """Layers with a free place in each row that a longer arrow crosses, so that it does not run behind a box."""
    rows = [list(layer) for layer in layers]
    level = {vertex: index for index, layer in enumerate(layers) for vertex in layer}
    routes = []
    for number, link in enumerate(links):
        between = [("way", f"{number}.{at}") for at in range(level[link.source] + 1, level[link.target])]
        for vertex, row in zip(between, rows[level[link.source] + 1 :], strict=False):
            row.append(vertex)
        routes.append(Route(link, (link.source, *between, link.target)))
    return rows, routes


def _ordered(rows: Sequence[Sequence[Vertex]], routes: Sequence[Route]) -> list[list[Vertex]]:
    """Each row sorted by the mean place of what it depends on, so that fewer arrows cross."""
    above: dict[Vertex, list[Vertex]] = {}
    for route in routes:
        for source, target in pairwise(route.stops):
            above.setdefault(target, []).append(source)
    place: dict[Vertex, float] = {}
    found = []
    for row in rows:
        means = {v: [place[s] for s in above.get(v, ()) if s in place] or [0.5] for v in row}
        ordered = sorted(row, key=lambda v, means=means: sum(means[v]) / len(means[v]))  # type: ignore[misc]
        place |= {vertex: (index + 0.5) / len(ordered) for index, vertex in enumerate(ordered)}
        found.append(ordered)
    return found


def _lines(card: Card) -> list[str]:
    from agentfleet.graph.draw import MARKS

    return [short(line) for line in (card.title, card.note, *(MARKS[mark] for mark in card.marks)) if line]


def _size(card: Card | None) -> tuple[float, float]:
    """Width and height of a card; a free place is narrow."""
    if card is None:
        return WAY, 0.0
    lines = _lines(card)
    return max(map(len, lines)) * CHARACTER + PADDING, LINE * len(lines) + 14.0


def _layout(
    cards: Mapping[Vertex, Card], rows: Sequence[Sequence[Vertex]], least: float
) -> tuple[dict[Vertex, Box], float, float]:
    """Boxes, and width and height of it all; rows are centred in at least `least`."""
    sizes = {v: _size(cards.get(v)) for row in rows for v in row}
    lengths = [sum(sizes[v][0] for v in row) + GAP * (len(row) - 1) for row in rows]
    full = max(least, *lengths)
    boxes: dict[Vertex, Box] = {}
    y: float = MARGIN
    for row, length in zip(rows, lengths, strict=True):
        x = MARGIN + (full - length) / 2
        tallest = max(sizes[v][1] for v in row)
        for vertex in row:
            width, height = sizes[vertex]
            boxes[vertex] = Box(x, y, width, height or tallest)
            x += width + GAP
        y += tallest + ROW
    return boxes, full + 2 * MARGIN, y - ROW + MARGIN


def _shape(card: Card, box: Box) -> Iterator[str]:
    from agentfleet.graph.draw import colour

    node = card.vertex[0] == "node"
    fill = colour(card.tier) if node else "#ffffff"
    line = 3 if "effect" in card.marks else 1
    dash = ' stroke-dasharray="6 3"' if "waits" in card.marks else ""
    yield f'<g class="{card.vertex[0]}"><title>{safe(card.title)}: {safe(card.note)}</title>'
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height}" '
        f'rx="{6 if node else 16}" fill="{fill}" stroke="#333" stroke-width="{line}"{dash}/>'
    )
    for number, content in enumerate(_lines(card)):
        style = ' font-weight="600" fill="#111"' if number == 0 else ' font-size="11" fill="#444"'
        y = box.y + 20 + LINE * number
        yield f'<text x="{box.middle:.1f}" y="{y:.1f}" text-anchor="middle"{style}>{safe(content)}</text>'
    yield "</g>"


def _arrow(route: Route, boxes: Mapping[Vertex, Box]) -> Iterator[str]:
    """A curve from box to box, straight through the free places between; its text stands by its first bend."""
    link = route.link
    stops = [boxes[vertex] for vertex in route.stops]
    path = f"M{stops[0].middle:.1f} {stops[0].bottom:.1f}"
    for start, end in pairwise(stops):
        to_y = end.y - (1 if end is stops[-1] else 0)
        bend = max((to_y - start.bottom) / 2, 12)
        path += f"C{start.middle:.1f} {start.bottom + bend:.1f} {end.middle:.1f} {to_y - bend:.1f} "
        path += f"{end.middle:.1f} {to_y:.1f}" + ("" if end is stops[-1] else f"V{end.bottom:.1f}")
    dash = "" if link.how in ("data", "condition") else ' stroke-dasharray="5 4"'
    yield f'<path class="{link.how}" d="{path}" fill="none" stroke="#777"{dash} marker-end="url(#af-arrow)"/>'
    if link.text:
        at = f'x="{(stops[0].middle + stops[1].middle) / 2:.1f}" y="{(stops[0].bottom + stops[1].y) / 2 + 4:.1f}"'
        halo = 'paint-order="stroke" stroke="#fff" stroke-width="4"'
        yield f'<text {at} text-anchor="middle" font-size="11" fill="#555" {halo}>{safe(short(link.text))}</text>'


def _legend(cards: Mapping[Vertex, Card], links: Sequence[Link]) -> list[tuple[str, str]]:
    """(shape, text) of each sign that this picture uses."""
    from agentfleet.graph.draw import MARKS, colour

    box = '<rect width="18" height="11" rx="2" stroke="#333"'
    tiers = dict.fromkeys(card.tier for card in cards.values() if card.vertex[0] == "node")
    found = [(f'{box} fill="{colour(tier)}"/>', tier or "code") for tier in tiers]
    used = {mark for card in cards.values() for mark in card.marks}
    if "effect" in used:
        found.append((f'{box} fill="#ffffff" stroke-width="3"/>', MARKS["effect"]))
    if "waits" in used:
        found.append((f'{box} fill="#ffffff" stroke-dasharray="6 3"/>', MARKS["waits"]))
    if any(link.how in ("branch", "decides") for link in links):
        line = '<path d="M0 6H18" stroke="#777" stroke-dasharray="5 4"/>'
        found.append((line, "only when that branch is taken"))
    return found


def _legend_shapes(legend: Sequence[tuple[str, str]], top: float) -> Iterator[str]:
    for number, (shape, content) in enumerate(legend):
        y = top + LINE * number
        yield f'<g transform="translate({MARGIN} {y:.1f})">{shape}'
        yield f'<text x="26" y="10" font-size="11" fill="#444">{safe(content)}</text></g>'
