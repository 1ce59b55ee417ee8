"""What is passed to a step while wiring: its expression, and whether its type fits the parameter.

Members of lists, tuples and dicts are checked one by one; values that hide step values are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import is_dataclass
from types import GeneratorType
from typing import Any, get_args

from agentfleet.graph import types
from agentfleet.graph.dag import Const, Expr, Pack
from agentfleet.graph.hidden import find
from agentfleet.graph.trace import Trace, Traced, own, shown, titled

_SCALARS = frozenset(types.SCALARS)
_ONCE = (GeneratorType, map, filter, zip)


def expression(trace: Trace, value: Any, where: str) -> tuple[Expr, Any]:
    """The expression of an argument, and the argument itself (a generator turned into a list)."""
    kind = type(value)
    if kind is Traced:
        own(trace, value)
        return value._af_expr, value
    if kind in _SCALARS:
        return Const(value), value
    if isinstance(value, _ONCE):
        value, kind = list(value), list
    if kind in (list, tuple, dict):
        return _container(trace, value, where), value
    found = find(value)
    if found is not None:
        raise trace.fail(_hides(found[0], found[1], where))
    return Const(_frozen(value)), value


def _frozen(value: Any) -> Any:
    """A copy: what the graph's code does to its object afterwards must not change the node."""
    if isinstance(value, (list, tuple, dict)) or hasattr(type(value), "model_fields") or is_dataclass(value):
        try:
            return copy.deepcopy(value)
        except Exception:  # holds something that cannot be copied, so it stays as it is
            return value
    return value


def _container(trace: Trace, value: Any, where: str) -> Expr:
    if find(value) is None:
        return Const(_frozen(value))
    parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
    items = tuple(expression(trace, part, where)[0] for part in parts)
    return Pack(type(value).__name__, items, tuple(value) if isinstance(value, dict) else ())


def _hides(value: Traced, holder: Any, where: str) -> str:
    name = type(holder).__name__
    if isinstance(holder, (set, frozenset)):
        return f"{where} is given a set with {titled(value)}, which is known only when the graph runs. Use a list."
    if hasattr(holder, "__code__") or name == "partial":
        return f"{getattr(holder, '__name__', name)} closes over the step value {shown(value)!r}; make it an argument."
    return (
        f"{where} is given {name}(...) with {titled(value)} inside, which is known only when the graph runs."
        f" Make a step of it: make = step({name}), then make(...) with the same arguments."
    )


def misfit(value: Any, annotation: Any) -> str:
    """Why a value does not fit a type, as the second half of a message; "" when it fits."""
    if type(value) is Traced:
        if types.assignable(value._af_type, annotation):
            return ""
        return f"{shown(value)} is {types.describe(value._af_type)}{_advice(value._af_type, annotation)}"
    if type(value) in (list, tuple, dict) and find(value) is not None:
        problems = [_member_misfit(value, types.bare(member)) for member in types.members(annotation)]
        return "" if "" in problems else min(problems, key=lambda text: text.startswith("a "))
    return _constant_misfit(value, annotation)


def _advice(have: Any, want: Any) -> str:
    if types.optional(have) and not types.optional(want):
        rest = [m for m in types.members(have) if m is not types.NONE]
        if rest and types.assignable(types.union(*rest), want):
            return ": it may be None; take None too, or give a value in its place inside a @step"
    return ""


def _member_misfit(value: Any, target: Any) -> str:
    """A list, tuple or dict with step values in it, against one alternative of the parameter's type."""
    if target is Any or target is object or type(target).__name__ == "TypeVar":
        return ""
    wrong = f"a {type(value).__name__} is no {types.describe(target)}"
    if isinstance(value, dict):
        return _dict_misfit(value, target, wrong)
    fixed = types.fixed_tuple(target)
    if isinstance(value, tuple) and fixed is not None:
        if len(fixed) != len(value):
            return f"a tuple of {len(value)} is no {types.describe(target)}"
        return next(filter(None, map(misfit, value, fixed)), "")
    origin = getattr(target, "__origin__", target)
    if origin is type(value) or (types.is_sequence(target) and (origin is not list or isinstance(value, list))):
        wanted = types.element(target)
        return next(filter(None, (misfit(member, wanted) for member in value)), "")
    return wrong


def _dict_misfit(value: dict[Any, Any], target: Any, wrong: str) -> str:
    if types.is_typeddict(target):
        hints = types.hints_of(target)
        for key in value:
            if key not in hints:
                return f"{types.describe(target)} has no key {key!r}"
        missing = [key for key in target.__required_keys__ if key not in value]
        if missing:
            return f"{types.describe(target)} needs {missing}"
        return next(filter(None, (misfit(member, hints[key]) for key, member in value.items())), "")
    if not types.is_mapping(target):
        return f"{wrong}; make one with step({types.describe(target)})" if hasattr(target, "model_fields") else wrong
    args = get_args(target)
    if len(args) != 2:
        return ""
    keys = (_constant_misfit(key, args[0]) for key in value)
    members = (misfit(member, args[1]) for member in value.values())
    return next(filter(None, keys), "") or next(filter(None, members), "")


def _constant_misfit(value: Any, annotation: Any) -> str:
    kind = type(value)
    if kind in _SCALARS:
        if not types.assignable(types.type_of(value), annotation):
            return f"{value!r} is {types.describe(kind)}"
        if not hasattr(annotation, "__metadata__"):
            return ""
    from pydantic import ValidationError

    from agentfleet.schema import codec

    try:
        codec(annotation).check(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        return f"the {types.describe(kind)} given does not fit ({f'{at}: ' if at else ''}{first['msg']})"
    return ""
