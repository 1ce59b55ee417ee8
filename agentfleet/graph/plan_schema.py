"""The JSON Schema of a plan, made for one call: tools that can be filled, references that fit, results that are wanted.

Tight on purpose: under a grammar a small model can then not even name a tool or value that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentfleet.decoding import MAX_STRING
from agentfleet.errors import PlanError
from agentfleet.graph import types
from agentfleet.graph.plan import list_item, offered, planned_type

if TYPE_CHECKING:
    from agentfleet.graph.signature import Param
    from agentfleet.graph.step import Step


def plan_schema(planner: Step[..., Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Raises PlanError when no tool can be used with these inputs."""
    most = planner.at_most or 8
    ids = [f"s{number}" for number in range(1, most + 1)]
    paths = list(offered(planner, inputs))
    tools = _usable(planner, paths)
    results = _result_tools(planner, tools)
    if not results:
        raise PlanError(f"{planner.name}: none of its tools can be filled from these inputs and give what is wanted")
    parts = [_step_schema(tool, ids, _pointers(tool, paths, tools, ids)) for tool in tools]
    one = parts[0] if len(parts) == 1 else {"anyOf": parts}
    steps = {"type": "array", "items": one, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "properties": {"steps": steps, "result": _result(planner, results, ids)},
        "required": ["steps", "result"],
        "additionalProperties": False,
    }


def _usable(planner: Step[..., Any], paths: list[tuple[str, Any]]) -> list[Step[..., Any]]:
    """Tools whose ByReference arguments something can fill: an input, or the result of another usable tool."""
    kinds = [kind for _, kind in paths]
    usable: list[Step[..., Any]] = []
    while True:
        more = [tool for tool in planner.tools if tool not in usable and _fillable(tool, kinds)]
        if not more:
            return [tool for tool in planner.tools if tool in usable]
        usable += more
        kinds += [kind for tool in more for _, kind in _made_by(tool)]


def _fillable(tool: Step[..., Any], kinds: list[Any]) -> bool:
    pointed = [param for param in tool.params if param.by_reference and param.required]
    return all(any(types.assignable(kind, param.annotation) for kind in kinds) for param in pointed)


def _made_by(tool: Step[..., Any]) -> list[tuple[str, Any]]:
    """What an earlier use of a tool gives: its result and the fields of it, as (suffix, type)."""
    kind = types.bare(tool.returns)
    return [("", kind), *((f".{name}", part) for name, part in types.fields_of(kind).items())]


def _pointers(
    tool: Step[..., Any], paths: list[tuple[str, Any]], tools: list[Step[..., Any]], ids: list[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for param in tool.params:
        here = [path for path, kind in paths if types.assignable(kind, param.annotation)]
        suffixes = {s for other in tools for s, kind in _made_by(other) if types.assignable(kind, param.annotation)}
        earlier = [f"{node}{suffix}" for node in ids[:-1] for suffix in sorted(suffixes)]
        found[param.name] = here + earlier
    return found


def _step_schema(tool: Step[..., Any], ids: list[str], pointers: dict[str, list[str]]) -> dict[str, Any]:
    arguments = {p.name: _argument(tool, p, pointers[p.name]) for p in tool.params}
    required = [p.name for p in tool.params if p.required]
    given = {k: v for k, v in arguments.items() if v is not None}
    return {
        "type": "object",
        "properties": {
            "id": {"enum": ids},
            "tool": {"const": tool.name},
            "with": {"type": "object", "properties": given, "required": required, "additionalProperties": False},
        },
        "required": ["id", "tool", "with"],
        "additionalProperties": False,
    }


def _argument(tool: Step[..., Any], param: Param, pointers: list[str]) -> dict[str, Any] | None:
    """What may stand for one argument; None when nothing may (an optional one that cannot be pointed at)."""
    from agentfleet.schema import output_of

    choices: list[dict[str, Any]] = []
    if pointers:
        reference = {"type": "object", "properties": {"ref": {"enum": pointers}}}
        choices.append({**reference, "required": ["ref"], "additionalProperties": False})
    if not param.by_reference:
        choices.append(_inline(dict(output_of(param.annotation, where=f"{tool.name}, {param.name}").schema)))
    if not choices:
        return None
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without `$defs`, so that it can stand anywhere; what refers to itself is left to validation."""
    definitions = schema.pop("$defs", {})

    def resolve(part: Any, seen: tuple[str, ...]) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                name = part["$ref"].rsplit("/", 1)[-1]
                return {} if name in seen else resolve(definitions[name], (*seen, name))
            return {key: resolve(value, seen) for key, value in part.items()}
        return [resolve(item, seen) for item in part] if isinstance(part, list) else part

    found: dict[str, Any] = resolve(schema, ())
    return {**found, "maxLength": MAX_STRING} if found == {"type": "string"} else found


def _result_tools(planner: Step[..., Any], tools: list[Step[..., Any]]) -> list[Step[..., Any]]:
    wanted = planned_type(planner)
    item = list_item(wanted)
    kinds = [(tool, types.bare(tool.returns)) for tool in tools]
    whole = [tool for tool, kind in kinds if types.assignable(kind, wanted)]
    parts = [tool for tool, kind in kinds if item is not None and types.assignable(kind, item)]
    return whole or parts


def _result(planner: Step[..., Any], results: list[Step[..., Any]], ids: list[str]) -> dict[str, Any]:
    wanted = planned_type(planner)
    if any(types.assignable(types.bare(tool.returns), wanted) for tool in results):
        return {"enum": ids}
    return {"type": "array", "items": {"enum": ids}, "minItems": 1, "maxItems": len(ids)}
