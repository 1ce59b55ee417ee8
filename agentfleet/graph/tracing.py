"""Tracing: run a graph's function once with `Traced` inputs, and keep the nodes that its calls make.

Arguments are bound, type-checked and searched for values hidden where they would be frozen; at the end every node
must be read by something. Only the graph's own code may wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from agentfleet.errors import TraceError
from agentfleet.graph import types
from agentfleet.graph.arguments import expression, misfit
from agentfleet.graph.binding import match_arguments
from agentfleet.graph.dag import Dag, Expr, Input, Item, Node, Out, Pack, When, children, reads
from agentfleet.graph.hidden import closed_over, find
from agentfleet.graph.signature import Signature, place
from agentfleet.graph.trace import Trace, Traced, current, shown

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


def add_node(
    trace: Trace, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType
) -> Any:
    """A call of a step while a graph is traced: one more node. `frame` is the caller's."""
    if frame.f_code not in trace.codes:
        raise _helper_wires(trace, step, frame)
    if (step.module, step.qualname) == trace.key and step.kind == "graph":
        raise trace.fail(_RECURSION.format(trace.name))
    if step.fn is not None:
        refuse_closure(step.fn, step.name, trace)
    line = frame.f_lineno
    node_id = step.node_name
    if node_id in trace.nodes:
        raise _used_twice(trace, node_id, trace.nodes[node_id].line, line)
    given = assign(step, args, kwargs, trace)
    bindings = {}
    for param in step.params:
        if param.name in given:
            bindings[param.name] = _binding(trace, step, param.name, param.annotation, given[param.name])
    trace.nodes[node_id] = Node(node_id, step, bindings, line, trace.file)
    return Traced(Out(node_id), step.returns, trace)


_RECURSION = "{} calls itself, and a graph has no cycles. Use repeat(step, until=..., at_most=...), or loop in a @step."


def _helper_wires(trace: Trace, step: Step[..., Any], frame: FrameType) -> TraceError:
    code = frame.f_code
    return trace.fail(
        f"the helper {code.co_name!r} ({code.co_filename}:{frame.f_lineno}) calls {step.name!r}, but only a @graph"
        f" wires steps. Mark {code.co_name!r} with @graph, or call {step.name!r} in {trace.name!r} itself."
    )


def _used_twice(trace: Trace, node_id: str, first: int, second: int) -> TraceError:
    lines = f"lines {first} and {second}" if first != second else f"line {first}, more than once"
    return TraceError(
        f'{node_id!r} is used twice in {trace.name!r} ({lines}). Name one: {node_id}.using(name="...")(...).'
        " Names, not positions, identify steps when a run is resumed."
    )


def assign(step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Arguments by parameter name. Raises TraceError for what Python would call a TypeError."""
    problem, given = match_arguments(step, args, kwargs)
    if problem:
        raise trace.fail(problem)
    return given


def _binding(trace: Trace, step: Step[..., Any], name: str, annotation: Any, value: Any) -> Expr:
    expr, value = expression(trace, value, f"{step.name}({name}=...)")
    problem = misfit(value, annotation)
    if problem:
        raise trace.fail(f"{step.name} takes {name}: {types.describe(annotation)}; {problem}.")
    return expr


def refuse_closure(fn: Any, name: str, trace: Trace | None, wires: bool = False) -> None:
    """Refuse a function that reads a step's value from around it: it would be frozen in.

    `wires`: the function is a graph, whose own tracing tells of a value of another graph when it uses one.
    """
    found = closed_over(fn)
    if found is None or (wires and not found._af_trace.open):
        return
    text = f"{name} closes over the step value {shown(found)!r}; make it an argument."
    raise trace.fail(text) if trace is not None else TraceError(text + place(fn))


def trace_graph(fn: Any, name: str, signature: Signature) -> Dag:
    """Run `fn` once with traced inputs and return its DAG. Raises TraceError."""
    trace = Trace(fn, name, signature)
    inputs = {p.name: Traced(Input(p.name), p.annotation, trace) for p in signature.params}
    token = current.set(trace)
    try:
        value = _run(trace, fn, inputs)
        return _finish(trace, value)
    finally:
        trace.open = False
        current.reset(token)


_WHILE = "{}: raised while the graph was traced, which runs its function once; what steps do runs later."


def _run(trace: Trace, fn: Any, inputs: dict[str, Any]) -> Any:
    try:
        return fn(**inputs)
    except TraceError:
        raise
    except NameError as error:
        if error.name == fn.__name__:
            raise _at(trace, error, _RECURSION.format(trace.name)) from None
        error.add_note(f"{trace.name} is traced when it is decorated, so define what it calls above it.")
        raise
    except TypeError as error:
        error.add_note(
            f"{_where(trace, error)}: the value of a step ('Traced') is known only when the graph runs. If one stands"
            " here, do this in a @step, or in the skill's body, where values are real."
        )
        raise
    except ValueError as error:
        found = _refused_input(error)
        if found is None:
            error.add_note(_WHILE.format(_where(trace, error)))
            raise
        raise _at(trace, error, _built(str(getattr(error, "title", "Model")), shown(found))) from None
    except Exception as error:
        error.add_note(_WHILE.format(_where(trace, error)))
        raise


def _built(model: str, value: str) -> str:
    return (
        f"{model}(...) is built from {value!r}, which is known only when the graph runs."
        f" Make a step of it: make = step({model}), then make(...) with the same arguments."
    )


def _where(trace: Trace, error: BaseException) -> str:
    line = _error_line(trace, error)
    return f"{trace.name}, line {line}" if line else trace.name


def _error_line(trace: Trace, error: BaseException) -> int:
    """The line of the graph function in a traceback (its frame is gone from the stack by now)."""
    line, tb = 0, error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code in trace.codes:
            line = tb.tb_lineno
        tb = tb.tb_next
    return line


def _at(trace: Trace, error: BaseException, message: str) -> TraceError:
    return TraceError(f"{_where(trace, error)}: {message}")


def _refused_input(error: ValueError) -> Traced | None:
    """The traced value at which a pydantic model choked, if that is what happened."""
    if type(error).__name__ != "ValidationError" or not hasattr(error, "errors"):
        return None
    for line in error.errors(include_url=False):
        found = find(line.get("input"))
        if found is not None:
            return found[0]
    return None


def _finish(trace: Trace, value: Any) -> Dag:
    returns = trace.signature.returns
    if value is None and trace.nodes and not types.assignable(None, returns):
        raise TraceError(f"{trace.name} returns nothing, but its annotation says {types.describe(returns)}.")
    result, value = expression(trace, value, f"return of {trace.name}")
    problem = misfit(value, returns)
    if problem:
        raise TraceError(f"{trace.name} returns {types.describe(returns)}; {problem}.{place(trace.fn)}")
    sides = _dropped_effects(trace, result)
    if sides:  # a when(...) whose value nothing uses, around an effect: demanded with the result, and still conditional
        result = Item(Pack("tuple", (result, *sides)), 0)
    roots = _roots(trace, result)
    dag = Dag(trace.name, trace.nodes, result, roots, tuple(p.name for p in trace.signature.params))
    _refuse_unread(trace, dag)
    return dag


def _expressions(trace: Trace, result: Expr) -> Iterator[Expr]:
    yield result
    for node in trace.nodes.values():
        yield from node.bindings.values()


def _within(expr: Expr) -> Iterator[Expr]:
    yield expr
    for child in children(expr):
        yield from _within(child)


def _dropped_effects(trace: Trace, result: Expr) -> list[When]:
    """The outermost `when`s that nothing uses, and in whose branches an effect stands that nothing else reads."""
    if not trace.whens:
        return []
    used = {id(e) for whole in _expressions(trace, result) for e in _within(whole)}
    used |= {id(e) for when, _ in trace.whens for child in children(when) for e in _within(child)}
    dropped = [when for when, _ in trace.whens if id(when) not in used]
    read = {name for whole in _expressions(trace, result) for name in reads(whole)}
    return [when for when in dropped if any(_lone_effect(trace, name, read) for name in reads(when))]


def _lone_effect(trace: Trace, name: str, read: set[str]) -> bool:
    return trace.nodes[name].step.has_effects and name not in read


def _roots(trace: Trace, result: Expr) -> tuple[str, ...]:
    read = {name for whole in _expressions(trace, result) for name in reads(whole)}
    return tuple(n.id for n in trace.nodes.values() if n.step.has_effects and n.id not in read)


def _refuse_unread(trace: Trace, dag: Dag) -> None:
    waiting = [*reads(dag.result), *dag.roots]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(dag.depends[name])
    unread = [name for name in dag.nodes if name not in reached]
    if unread:
        lines = ", ".join(f"{name} line {dag.nodes[name].line}" for name in unread)
        raise TraceError(
            f"{trace.name}: nothing reads {unread}. Return it, pass it on, delete it, or mark it @step(effect=True)."
            f" [{trace.file}: {lines}]"
        )
