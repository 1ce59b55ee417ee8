"""Plans are data: steps that name allowed tools, with typed values or references. Built, checked and compiled here.

The allow-list is the planner's `tools`, in code; what a plan says is checked against it twice: when it is made and
again when it is carried out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from agentfleet.errors import PlanError, UsageError, nearest
from agentfleet.graph import types
from agentfleet.graph.dag import Const, Dag, Expr, Field, Input, Node, Out, Pack, reads

if TYPE_CHECKING:
    from agentfleet.graph.signature import Param
    from agentfleet.graph.step import Step
    from agentfleet.schema import Output

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,39}")


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan. `arguments`: a JSON value, or ``{"ref": path}``, per name."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


class Plan(Generic[T]):
    """A plan whose result is a T. `result`: the id of a step, or ids for a list. `inputs`: the planner's, as JSON.

    No dataclass: pydantic would take a ``Plan[T]`` apart by its fields and never ask how it is written.
    """

    __slots__ = ("inputs", "result", "steps")

    def __init__(self, steps: Sequence[PlanStep], result: str | Sequence[str], inputs: Mapping[str, Any]) -> None:
        self.steps: tuple[PlanStep, ...] = tuple(steps)
        self.result: str | tuple[str, ...] = result if isinstance(result, str) else tuple(result)
        self.inputs: Mapping[str, Any] = inputs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Plan(steps={self.steps!r}, result={self.result!r}, inputs={self.inputs!r})"

    def count(self, step: Step[..., Any]) -> int:
        """How often a tool is used."""
        return sum(one.tool == step.name for one in self.steps)

    def uses(self, step: Step[..., Any], argument: str) -> list[Any]:
        """What a tool is given for an argument, use by use, as JSON data: a value, its default, or what a reference to
        an input stands for; a reference to another step's result stays ``{"ref": path}``.

        Raises UsageError for an argument that the tool does not have.
        """
        params = {param.name: param for param in step.params}
        if argument not in params:
            raise UsageError(f"{step.name} has no argument {argument!r}{nearest(argument, params)}")
        return [self._given(params[argument], one.arguments) for one in self.steps if one.tool == step.name]

    def _given(self, param: Param, arguments: Mapping[str, Any]) -> Any:
        if param.name in arguments:
            return self._looked_up(arguments[param.name])
        return None if param.required else json.loads(param.codec.dump(param.make_default()))

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
            inputs = dict(data.get("inputs", {}))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wrong = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise PlanError(f"a plan is {{steps: [{{id, tool, with}}], result}}: {wrong}") from None
        ids = [result] if isinstance(result, str) else result
        if not isinstance(ids, (list, tuple)) or not all(isinstance(one, str) for one in ids):
            raise PlanError("result is the id of a step, or a list of ids")
        return Plan(steps, result, inputs)

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
    """The T of a planner's ``Plan[T]`` (a default answer may stand beside the plan)."""
    plans = [member for member in types.members(planner.returns) if get_origin(member) is Plan]
    return get_args(plans[0])[0] if plans else Any


def plan_output(planner: Step[..., Any], inputs: Mapping[str, Any]) -> Output:
    """What this planner's model must write, given its inputs: only what can be filled is offered.

    The parser gives a checked `Plan`, or raises PlanError with a sentence that a model can act on. Raises PlanError
    when no tool can be used with these inputs.
    """
    from agentfleet.graph.plan_schema import plan_schemas
    from agentfleet.schema import Output

    given = {p.name: json.loads(p.codec.dump(inputs[p.name])) for p in planner.params if p.name in inputs}

    def parse(data: Any) -> Plan[Any]:
        if not isinstance(data, Mapping):
            raise PlanError("a plan is a JSON object with steps and result")
        plan: Plan[Any] = Plan.from_json({**data, "inputs": given})
        compile_plan(planner, plan)
        return plan

    tight, wide = plan_schemas(planner, {name: value for name, value in inputs.items() if value is not None})
    return Output("json", planner.returns, tight, parser=parse, wide=wide)


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
        self.behind: dict[str, set[str]] = {}

    def add(self, step: PlanStep) -> None:
        if _ID.fullmatch(step.id) is None:
            raise PlanError(f"{step.id[:40]!r} is no id; use s1, s2, ...")
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
        self.nodes[step.id] = Node(step.id, tool, bindings, tool.line, tool.file, self.order(step.id, tool, bindings))

    def order(self, node_id: str, tool: Step[..., Any], bindings: Mapping[str, Expr]) -> tuple[str, ...]:
        """What an effect waits for without reading it: all earlier steps, so that it happens when the plan says."""
        read = {name for expr in bindings.values() for name in reads(expr)}
        behind = read.union(*(self.behind[name] for name in read))
        after = []
        for earlier in reversed(self.nodes) if tool.has_effects else ():
            if earlier not in behind:
                after.append(earlier)
                behind |= {earlier, *self.behind[earlier]}
        self.behind[node_id] = behind
        return tuple(reversed(after))

    def argument(self, step: PlanStep, param: Param, value: Any) -> Expr:
        where = f"step {step.id}, {param.name}"
        if is_reference(value):
            expr, kind = self.point(value["ref"], where)
            if not types.assignable(kind, param.annotation):
                wanted, got = types.describe(param.annotation), types.describe(kind)
                raise PlanError(f"{where}: {value['ref']} is {got}, and {wanted} is needed")
            return expr
        if param.by_reference:
            raise PlanError(f'{where}: may not be written, only pointed at; use {{"ref": path}}')
        try:
            return Const(param.codec.load(json.dumps(value)))
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            raise PlanError(f"{'.'.join([where, *map(str, found['loc'])])}: {found['msg']}") from None

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
            except types.NoField as error:
                raise PlanError(f"{where}: {path}: {error}") from None
            expr = Field(expr, part)
            if name in self.inputs and self.is_none(expr):
                raise PlanError(f"{where}: {path} is None; there is nothing to point at")
            kind = present(kind) if name in self.inputs else kind
        return expr, kind

    def is_none(self, expr: Expr) -> bool:
        """Is what an expression over the planner's inputs stands for known to be None?"""
        names: list[str] = []
        while isinstance(expr, Field):
            names.append(expr.name)
            expr = expr.of
        held: Any = self.plan.inputs[expr.name] if isinstance(expr, Input) else self
        for name in reversed(names):
            if not isinstance(held, Mapping) or name not in held:
                return False  # a property or an item: known only when it is evaluated
            held = held[name]
        return held is None

    def finish(self) -> Dag:
        result = self._result()
        read = set(reads(result)) | {r for n in self.nodes.values() for e in n.bindings.values() for r in reads(e)}
        idle = [n.id for n in self.nodes.values() if n.id not in read and not n.step.has_effects]
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
    kept = [member for member in types.members(annotation) if member is not types.NONE]
    return types.union(*kept) if kept else types.NONE


def offered(planner: Step[..., Any], inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(path, type) of every input, and field of an input, that a plan may point at."""
    for param in planner.params:
        value = inputs.get(param.name)
        if value is None:
            continue
        kind = present(types.bare(param.annotation))
        yield param.name, kind
        for name in types.fields_of(type(value)):
            try:
                part = types.field_type(kind, name, param.name)
            except types.NoField:  # a field of one member of a union only
                continue
            if getattr(value, name, None) is not None:
                yield f"{param.name}.{name}", present(part)
