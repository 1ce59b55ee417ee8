"""Plans are data: steps that name allowed tools, with typed values or references. Built, checked and compiled here.

The allow-list is the planner's `tools`, in code; what a plan says is checked against it twice: when it is made and
again when it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from agentfleet.errors import PlanError, nearest
from agentfleet.graph import types
from agentfleet.graph.dag import Const, Dag, Expr, Field, Input, Node, Out, Pack, reads

if TYPE_CHECKING:
    from agentfleet.graph.step import Step
    from agentfleet.schema import Output

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan. `arguments`: a JSON value, or ``{"ref": path}``, per name."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """A plan whose result is a T. `result`: the id of a step, or ids for a list. `inputs`: the planner's, as JSON."""

    steps: Sequence[PlanStep]
    result: str | tuple[str, ...]
    inputs: Mapping[str, Any]

    def count(self, step: Step[..., Any]) -> int:
        """How often a tool is used."""
        return sum(one.tool == step.name for one in self.steps)

    def uses(self, step: Step[..., Any], argument: str) -> list[Any]:
        """What a tool is given for an argument, use by use: values; a reference to an input is looked up."""
        found = [one.arguments.get(argument) for one in self.steps if one.tool == step.name]
        return [self._looked_up(value) for value in found]

    def _looked_up(self, value: Any) -> Any:
        if not is_reference(value):
            return value
        name, *fields = value["ref"].split(".")
        held: Any = self.inputs.get(name, value)
        for part in fields if name in self.inputs else ():
            held = held.get(part) if isinstance(held, Mapping) else None
        return held

    def to_json(self) -> dict[str, Any]:
        """JSON-able data, as the ledger keeps it."""
        steps = [{"id": s.id, "tool": s.tool, "with": dict(s.arguments)} for s in self.steps]
        result = self.result if isinstance(self.result, str) else list(self.result)
        return {"steps": steps, "result": result, "inputs": dict(self.inputs)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan[Any]:
        """From `to_json`'s data, or what a model wrote. Raises PlanError for a wrong form."""
        try:
            steps = tuple(PlanStep(str(s["id"]), str(s["tool"]), dict(s.get("with", {}))) for s in data["steps"])
            result = data["result"]
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"a plan is {{steps: [{{id, tool, with}}], result}}; {error!r} is missing or wrong") from None
        if not isinstance(result, (str, list)):
            raise PlanError("result is the id of a step, or a list of ids")
        return Plan(steps, result if isinstance(result, str) else tuple(result), dict(data.get("inputs", {})))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def read(value: Any) -> Plan[Any]:
            return value if isinstance(value, Plan) else cls.from_json(value)

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda plan: plan.to_json()),
            json_schema_input_schema=core_schema.dict_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object"}


def is_reference(value: Any) -> bool:
    """Is this argument a pointer?"""
    return isinstance(value, Mapping) and set(value) == {"ref"} and isinstance(value["ref"], str)


def planned_type(planner: Step[..., Any]) -> Any:
    """The T of a planner's ``Plan[T]``."""
    return (get_args(planner.returns) or (Any,))[0]


def plan_output(planner: Step[..., Any], inputs: Mapping[str, Any]) -> Output:
    """What this planner's model must write, given its inputs: only what can be filled is offered.

    The parser gives a checked `Plan`, or raises PlanError with a sentence that a model can act on.
    """
    from agentfleet.graph.plan_schema import plan_schema
    from agentfleet.schema import Output

    given = {p.name: json.loads(p.codec.dump(inputs[p.name])) for p in planner.params if p.name in inputs}

    def parse(data: Any) -> Plan[Any]:
        if not isinstance(data, Mapping):
            raise PlanError("a plan is a JSON object with steps and result")
        plan: Plan[Any] = Plan.from_json({**data, "inputs": given})
        compile_plan(planner, plan)
        return plan

    schema = plan_schema(planner, {name: value for name, value in inputs.items() if value is not None})
    return Output("json", planner.returns, schema, parser=parse)


def compile_plan(planner: Step[..., Any], plan: Plan[Any]) -> Dag:
    """The plan as a graph, checked against the planner's allow-list and types. Raises PlanError."""
    most = planner.at_most or 8
    if not plan.steps:
        raise PlanError("the plan has no step; use at least one tool")
    if len(plan.steps) > most:
        raise PlanError(f"the plan has {len(plan.steps)} steps; at most {most} are allowed")
    compiler = _Compiler(planner, plan)
    for step in plan.steps:
        compiler.add(step)
    return compiler.finish()


class _Compiler:
    """Turns plan steps into nodes, in order; a step may only point back."""

    def __init__(self, planner: Step[..., Any], plan: Plan[Any]) -> None:
        self.planner = planner
        self.plan = plan
        self.tools = {tool.name: tool for tool in planner.tools}
        self.inputs = {p.name: types.bare(p.annotation) for p in planner.params}
        self.nodes: dict[str, Node] = {}

    def add(self, step: PlanStep) -> None:
        if step.id in self.nodes or step.id in self.inputs:
            raise PlanError(f"the id {step.id!r} is used twice; give each step an id of its own")
        tool = self.tools.get(step.tool)
        if tool is None:
            raise PlanError(f"step {step.id}: there is no tool {step.tool!r}{nearest(step.tool, self.tools)}")
        params = {p.name: p for p in tool.params}
        for name in step.arguments:
            if name not in params:
                raise PlanError(f"step {step.id}: {tool.name} has no argument {name!r}{nearest(name, params)}")
        bindings: dict[str, Expr] = {}
        for name, param in params.items():
            if name in step.arguments:
                bindings[name] = self.argument(step, param, step.arguments[name])
            elif param.required:
                raise PlanError(f"step {step.id}: {tool.name} needs {name}")
        self.nodes[step.id] = Node(step.id, tool, bindings, tool.line, tool.file)

    def argument(self, step: PlanStep, param: Any, value: Any) -> Expr:
        where = f"step {step.id}, {param.name}"
        if is_reference(value):
            expr, kind = self.point(value["ref"], where)
            if not types.assignable(kind, param.annotation):
                wanted, got = types.describe(param.annotation), types.describe(kind)
                raise PlanError(f"{where}: {value['ref']} is {got}, and {wanted} is needed")
            return expr
        if param.by_reference:
            raise PlanError(f"{where}: may not be written, only pointed at; use {{\"ref\": path}}")
        try:
            return Const(param.codec.load(json.dumps(value)))
        except ValidationError as error:
            raise PlanError(f"{where}: {error.errors(include_url=False)[0]['msg']}") from None

    def point(self, path: str, where: str) -> tuple[Expr, Any]:
        """The expression and type of a path. A value that is None may not be pointed at."""
        name, *fields = path.split(".")
        if name in self.nodes:
            expr: Expr = Out(name)
            kind: Any = types.bare(self.nodes[name].step.returns)
        elif name in self.inputs:
            expr, kind = Input(name), self.inputs[name]
            if self.plan.inputs.get(name) is None:
                raise PlanError(f"{where}: {name} is None; there is nothing to point at")
            kind = present(kind)
        else:
            later = any(step.id == name for step in self.plan.steps)
            hint = "; it comes later or is the step itself, point only to earlier ones" if later else ""
            known = nearest(name, [*self.inputs, *self.nodes])
            raise PlanError(f"{where}: nothing is named {name!r}{hint or known}")
        for part in fields:
            try:
                kind = types.field_type(kind, part, path)
            except (types.NoField, Exception) as error:
                raise PlanError(f"{where}: {path}: {error}") from None
            expr = Field(expr, part)
        if fields and name in self.inputs and self._value(path) is None:
            raise PlanError(f"{where}: {path} is None; there is nothing to point at")
        return expr, present(kind) if name in self.inputs else kind

    def _value(self, path: str) -> Any:
        held: Any = self.plan.inputs
        for part in path.split("."):
            held = held.get(part) if isinstance(held, Mapping) else None
        return held

    def finish(self) -> Dag:
        result = self._result()
        read = set(reads(result)) | {r for n in self.nodes.values() for e in n.bindings.values() for r in reads(e)}
        idle = [n.id for n in self.nodes.values() if n.id not in read and not n.step.effect]
        if idle:
            raise PlanError(f"nothing reads {', '.join(idle)}; leave it out, or point at its result")
        roots = tuple(n.id for n in self.nodes.values() if n.id not in read)
        return Dag(f"{self.planner.name}.carry_out", self.nodes, result, roots, tuple(self.inputs))

    def _result(self) -> Expr:
        wanted = planned_type(self.planner)
        if isinstance(self.plan.result, str):
            self._fits(self.plan.result, wanted)
            return Out(self.plan.result)
        item = list_item(wanted)
        if item is None:
            raise PlanError("result names one step here, not a list")
        for node_id in self.plan.result:
            self._fits(node_id, item)
        return Pack("list", tuple(Out(node_id) for node_id in self.plan.result))

    def _fits(self, node_id: str, wanted: Any) -> None:
        node = self.nodes.get(node_id)
        if node is None:
            raise PlanError(f"result: there is no step {node_id!r}{nearest(node_id, self.nodes)}")
        if not types.assignable(types.bare(node.step.returns), wanted):
            got = types.describe(node.step.returns)
            raise PlanError(f"result: {node_id} gives {got}, and {types.describe(wanted)} is wanted")


def list_item(annotation: Any) -> Any | None:
    """X of ``list[X]``, None for anything else."""
    plain = types.bare(annotation)
    return get_args(plain)[0] if get_origin(plain) is list and get_args(plain) else None


def present(annotation: Any) -> Any:
    """A type without its None: what is pointed at is there."""
    return types.union(*[m for m in types.members(annotation) if m not in (None, type(None))])


def offered(planner: Step[..., Any], inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(path, type) of every input, and field of an input, that a plan may point at."""
    for param in planner.params:
        value = inputs.get(param.name)
        if value is None:
            continue
        kind = present(types.bare(param.annotation))
        yield param.name, kind
        for name, part in types.fields_of(type(value)).items():
            if getattr(value, name, None) is not None:
                yield f"{param.name}.{name}", present(part)
