"""The JSON Schema of a plan, made for one call: tools that can be filled, references that fit, results that are wanted.

Tight on purpose: under a grammar a small model can then not even name a tool or value that is not there. Where the
tight form would be too large, and for hosts whose strict mode has no words for it, there is a wider one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentfleet.decoding import MAX_STRING, Definitions
from agentfleet.errors import PlanError
from agentfleet.graph.plan_shapes import Offer, Shape, shapes

if TYPE_CHECKING:
    from agentfleet.graph.signature import Param
    from agentfleet.graph.step import Step


def plan_schemas(planner: Step[..., Any], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tight schema of a plan and a wider one (flat lists, every id anywhere); the same where tight is too large.

    Under the tight one each step has its own id, points only at inputs and earlier steps, and `result` names a step
    that is there. Raises PlanError when no tool can be used with these inputs.
    """
    offer = Offer(planner, inputs)
    forms = shapes(offer)
    if forms == [] or not offer.results:
        raise PlanError(f"{planner.name}: none of its tools can be filled from these inputs and give what is wanted")
    wide = _Writer(offer).flat()
    return (wide if forms is None else _Writer(offer).tight(forms)), wide


class _Writer:
    """Writes one schema; what is said more than once stands in `$defs` once."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.shared = Definitions()
        self.values: dict[tuple[str, str], dict[str, Any]] = {}
        self.written: dict[Any, dict[str, Any]] = {}

    def tight(self, forms: Sequence[Shape]) -> dict[str, Any]:
        """One object for each form."""
        return self.whole([self.form(shape) for shape in forms])

    def flat(self) -> dict[str, Any]:
        """One list of steps, each with any id; an order is left to validation."""
        offer = self.offer
        before = [offer.tools] * (len(offer.ids) - 1)
        steps = _either([self.step(tool, offer.ids, before, {}) for tool in offer.tools])
        most = {"minItems": 1, "maxItems": len(offer.ids)}
        return self.whole([_plan({"type": "array", "items": steps, **most}, self.result(offer.ids))])

    def whole(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        found = _either(choices)
        return {**found, "$defs": self.shared.parts} if self.shared.parts else found

    def form(self, shape: Shape) -> dict[str, Any]:
        size = len(shape.places)
        places = [self.place(shape, place) for place in range(size)]
        steps = {"type": "array", "prefixItems": places, "minItems": size, "maxItems": size}
        if size == 1:
            steps = {"type": "array", "items": places[0], "minItems": 1, "maxItems": 1}
        return _plan(steps, self.result([self.offer.ids[place] for place in shape.results]))

    def place(self, shape: Shape, place: int) -> dict[str, Any]:
        before = (shape.earlier or shape.places)[:place]
        pins = {name: earlier for (later, name), earlier in shape.pins.items() if later == place}
        key = (before, shape.places[place], tuple(pins.items()))
        if key not in self.written:
            ids = [self.offer.ids[place]]
            one = _either([self.step(tool, ids, before, pins) for tool in shape.places[place]])
            self.written[key] = one if len(shape.places) == 1 else self.shared.share(ids[0], one)
        return self.written[key]

    def step(
        self, tool: Step[..., Any], ids: list[str], before: Sequence[Sequence[Step[..., Any]]], pins: Mapping[str, int]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for param in tool.params:
            if param.name in pins:
                earlier = pins[param.name]
                arguments[param.name] = _reference(self.offer.results_of(earlier, before[earlier], param))
            else:
                arguments[param.name] = self.argument(tool, param, self.offer.pointers(param, before))
        given = {name: part for name, part in arguments.items() if part is not None}
        required = [param.name for param in tool.params if param.required or param.name in pins]
        filled = {"type": "object", "properties": given, "required": required, "additionalProperties": False}
        return _closed({"id": {"enum": ids}, "tool": {"const": tool.name}, "with": filled})

    def argument(self, tool: Step[..., Any], param: Param, pointers: list[str]) -> dict[str, Any] | None:
        """What may stand for one argument; None when nothing may (an optional one that cannot be pointed at)."""
        choices = [_reference(pointers)] if pointers else []
        if not param.by_reference:
            choices.append(self.value(tool, param))
        return _either(choices) if choices else None

    def value(self, tool: Step[..., Any], param: Param) -> dict[str, Any]:
        """What a model may write for an argument."""
        from agentfleet.schema import output_of

        key = (tool.name, param.name)
        if key not in self.values:
            found = self.shared.take(output_of(param.annotation, where=f"{tool.name}, {param.name}").schema)
            if found == {"type": "string"}:
                found = {**found, "maxLength": MAX_STRING}
            scalar = not {"properties", "items", "anyOf"} & found.keys()
            self.values[key] = found if scalar else self.shared.share(f"{tool.name}_{param.name}", found)
        return self.values[key]

    def result(self, ids: list[str]) -> dict[str, Any]:
        if not self.offer.lists:
            return {"enum": ids}
        return {"type": "array", "items": {"enum": ids}, "minItems": 1, "maxItems": len(ids)}


def _plan(steps: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return _closed({"steps": steps, "result": result})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _reference(pointers: list[str]) -> dict[str, Any]:
    return _closed({"ref": {"enum": pointers}})


def _either(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return choices[0] if len(choices) == 1 else {"anyOf": choices}
