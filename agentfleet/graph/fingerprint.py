"""What a step is, as a digest: a finished node is reused only while kind, instruction, schemas, checks, examples and
body are the same. Tier, model and options do not count. Built at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from agentfleet.graph import types
from agentfleet.graph.examples import examples_digest
from agentfleet.graph.source import body_digest
from agentfleet.ids import canonical_json, fingerprint

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


def schema_text(annotation: Any) -> str:
    """The JSON Schema of a type, nested fields too, and its markers; the type as written where there is none."""
    from pydantic import TypeAdapter

    try:
        schema = canonical_json(TypeAdapter(annotation).json_schema())
    except Exception:  # a type that only Python knows: its name has to do
        schema = types.describe(annotation)
    return f"{schema} {_markers(annotation, set())}"


def _markers(annotation: Any, seen: set[Any]) -> str:
    """Names of the classes in `Annotated`, of fields too: `Verbatim` changes what is asked, and is in no schema."""
    from pydantic import BaseModel

    names = sorted(type(extra).__name__ for extra in getattr(annotation, "__metadata__", None) or ())
    inner = [_markers(part, seen) for part in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for name, info in annotation.model_fields.items():
            marks = sorted(type(extra).__name__ for extra in info.metadata)
            inner.append(f"{name}:{','.join(marks)}{_markers(info.annotation, seen)}")
    return f"<{','.join(names)}{''.join(inner)}>" if names or any(inner) else ""


def base_fingerprint(step: Step[..., Any]) -> str:
    """32 hex digits of everything but the inputs."""
    checks = [body_digest(check) for check in step.checks]
    parts: list[Any] = [step.kind, step.instruction, _schemas(step), checks, examples_digest(step, step.examples)]
    if step.kind == "graph":
        parts.append(_dag_parts(step))
    elif isinstance(step.fn, type):
        parts.append(step.fn.__qualname__)
    elif step.fn is not None:
        parts.append(body_digest(step.fn))
    parts += [f"{tool.name} {_schemas(tool)}" for tool in step.tools]
    if step.inner is not None:
        parts.append(step.inner.base_fingerprint)
    if step.kind == "carry_out" and step.inner is not None:
        parts += [tool.base_fingerprint for tool in step.inner.tools]
    if step.kind == "summarise" and not step.grounded:  # what is accepted is part of what it is, as checks are
        parts.append("not grounded")
    if step.until is not None:
        parts += [body_digest(step.until), step.at_most]
    return fingerprint(*parts)


def _schemas(step: Step[..., Any]) -> list[str]:
    inputs = [f"{p.name}{'*' if p.by_reference else ''} {schema_text(p.annotation)}" for p in step.params]
    return [*inputs, schema_text(step.declared)]


def _dag_parts(step: Any) -> list[Any]:
    dag = step.dag
    nodes = [[n.id, n.step.base_fingerprint, repr(sorted(n.bindings.items()))] for n in dag.nodes.values()]
    return [sorted(nodes), repr(dag.result), sorted(dag.roots)]
