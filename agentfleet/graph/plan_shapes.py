"""Which forms a plan for one call can take: how many steps, which tools at each place, what has to be pointed at.

`plan_schema` writes them as JSON Schema, so that a model under a grammar writes only plans that compile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import TYPE_CHECKING, Any, TypeAlias

from agentfleet.graph import types
from agentfleet.graph.plan import list_item, offered, planned_type

if TYPE_CHECKING:
    from agentfleet.graph.signature import Param
    from agentfleet.graph.step import Step

    Tool: TypeAlias = Step[..., Any]

MAX_SHAPES = 64
"""Forms written side by side; beyond them the schema gets wider."""
MAX_STEPS = 64
"""Steps of a plan that a schema offers, however many are allowed."""
_MAX_SEQUENCES = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """One form. Places count from 0.

    `places`: the tools that may stand at each. `results`: the places that `result` may name. `pins`: (place, argument)
    → the earlier place that it has to point at, because nothing else would read that step. `earlier`: what is taken to
    stand at the places that are pointed at, where that is not `places` (so that one definition serves many forms).
    """

    places: tuple[tuple[Tool, ...], ...]
    results: tuple[int, ...]
    pins: Mapping[tuple[int, str], int] = field(default_factory=dict)
    earlier: tuple[tuple[Tool, ...], ...] = ()


class Offer:
    """What there is for one call: usable tools, paths to point at, the tools that give the wanted result.

    `lists`: the result is a list of ids. `ids`: of the steps, none of them the name of an input.
    """

    def __init__(self, planner: Tool, inputs: Mapping[str, Any]) -> None:
        self.paths = list(offered(planner, inputs))
        self.tools = _usable(planner.tools, [kind for _, kind in self.paths])
        wanted = planned_type(planner)
        whole = tuple(tool for tool in self.tools if _gives(tool, wanted))
        item = list_item(wanted)
        parts = tuple(tool for tool in self.tools if item is not None and _gives(tool, item))
        self.results = whole or parts
        self.lists = not whole
        letter = "step" if any(param.name[:1] == "s" and param.name[1:].isdigit() for param in planner.params) else "s"
        self.ids = [f"{letter}{number}" for number in range(1, min(planner.at_most or 8, MAX_STEPS) + 1)]

    def pointers(self, param: Param, before: Sequence[Sequence[Tool]]) -> list[str]:
        """The paths that may stand for an argument after these places: inputs first, then earlier results."""
        here = [path for path, kind in self.paths if types.assignable(kind, param.annotation)]
        return here + [path for place in range(len(before)) for path in self.results_of(place, before[place], param)]

    def results_of(self, place: int, tools: Sequence[Tool], param: Param) -> list[str]:
        """The paths to the result at a place, and to its fields, that fit an argument."""
        fitting = {end for tool in tools for end, kind in _made_by(tool) if types.assignable(kind, param.annotation)}
        return [f"{self.ids[place]}{end}" for end in sorted(fitting)]

    def fits(self, tool: Tool, before: Sequence[Sequence[Tool]]) -> bool:
        """Can a tool be filled after these places?"""
        pointed = [param for param in tool.params if param.by_reference and param.required]
        return all(self.pointers(param, before) for param in pointed)


def shapes(offer: Offer) -> list[Shape] | None:
    """The forms of a plan: tool by tool where they are few, else place by place; None when even those are too many."""
    count, places = len(offer.tools), len(offer.ids)
    if sum(count**length for length in range(1, places + 1)) <= _MAX_SEQUENCES:
        found = list(islice(_by_tool(offer), MAX_SHAPES + 1))
        if len(found) <= MAX_SHAPES:
            return found
    if count * places > MAX_SHAPES or places * (places + 1) // 2 > MAX_SHAPES:
        return None
    return list(_by_place(offer))


def _by_tool(offer: Offer) -> Iterator[Shape]:
    alone = tuple(tool for tool in offer.results if offer.fits(tool, ()))
    if alone:
        yield Shape((alone,), (0,))
    for length in range(2, len(offer.ids) + 1):
        for sequence in product(offer.tools, repeat=length):
            places = tuple((tool,) for tool in sequence)
            if all(offer.fits(tool, places[:place]) for place, tool in enumerate(sequence)):
                yield from _read_whole(offer, places)


def _read_whole(offer: Offer, places: tuple[tuple[Tool, ...], ...]) -> Iterator[Shape]:
    """The forms of one sequence of tools in which each step has an effect, is the result, or is read."""
    last = [place for place, (tool,) in enumerate(places) if tool in offer.results]
    for results in [tuple(last)] if offer.lists and last else [(place,) for place in last]:
        unread = [place for place, (tool,) in enumerate(places) if not tool.has_effects and place not in results]
        for pins in _pinned(offer, places, unread, {}):
            yield Shape(places, results, pins)


def _pinned(
    offer: Offer, places: tuple[tuple[Tool, ...], ...], unread: list[int], taken: dict[tuple[int, str], int]
) -> Iterator[dict[tuple[int, str], int]]:
    """Every way to give each unread place an argument of its own that points at it."""
    if not unread:
        yield taken
        return
    place, *others = unread
    for later in range(place + 1, len(places)):
        for param in places[later][0].params:
            slot = (later, param.name)
            if slot not in taken and offer.results_of(place, places[place], param):
                yield from _pinned(offer, places, others, {**taken, slot: place})


def _by_place(offer: Offer) -> Iterator[Shape]:
    """For each number of steps: any tool at any place, but one that gives the result where `result` points."""
    all_places: tuple[tuple[Tool, ...], ...] = ()
    for _ in offer.ids:
        all_places += (tuple(tool for tool in offer.tools if offer.fits(tool, all_places)),)
        count = range(len(all_places))
        free = [place for place in count if offer.lists or set(all_places[place]) <= set(offer.results)]
        if free:
            yield Shape(all_places, tuple(free))
        for place in sorted({*count} - {*free}):
            ending = tuple(tool for tool in all_places[place] if tool in offer.results)
            if ending:
                places = (*all_places[:place], ending, *all_places[place + 1 :])
                yield Shape(places, (place,), earlier=all_places)


def _usable(tools: Sequence[Tool], kinds: list[Any]) -> tuple[Tool, ...]:
    """Tools whose ByReference arguments something can fill: an input, or the result of another usable tool."""
    usable: list[Tool] = []
    while True:
        more = [tool for tool in tools if tool not in usable and _fillable(tool, kinds)]
        if not more:
            return tuple(tool for tool in tools if tool in usable)
        usable += more
        kinds = [*kinds, *(kind for tool in more for _, kind in _made_by(tool))]


def _fillable(tool: Tool, kinds: list[Any]) -> bool:
    pointed = [param for param in tool.params if param.by_reference and param.required]
    return all(any(types.assignable(kind, param.annotation) for kind in kinds) for param in pointed)


def _gives(tool: Tool, wanted: Any) -> bool:
    return types.assignable(types.bare(tool.returns), wanted)


def _made_by(tool: Tool) -> list[tuple[str, Any]]:
    """What a use of a tool gives: its result and the fields of it, as (end of the path, type)."""
    kind = types.bare(tool.returns)
    return [("", kind), *((f".{name}", part) for name, part in types.fields_of(kind).items())]
