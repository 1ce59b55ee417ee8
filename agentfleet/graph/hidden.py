"""Finds traced values where tracing would freeze them: inside models, dataclasses, objects, sets and closures."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from agentfleet.graph.trace import Traced

_PLAIN = (str, int, float, bool, type(None), bytes, complex)
_DEPTH = 12
_MOST = 20_000
"""Objects looked at in one search: data of that size is not written inside a graph."""


def find(value: Any) -> tuple[Traced, Any] | None:
    """The first traced value inside another, with the object that holds it; None when there is none."""
    return _find(value, None, _DEPTH, set())


def _find(value: Any, owner: Any, depth: int, seen: set[int]) -> tuple[Traced, Any] | None:
    kind = type(value)
    if kind in _PLAIN or depth == 0:
        return None
    if kind is Traced:
        return value, owner
    if len(seen) > _MOST or id(value) in seen or isinstance(value, (type, ModuleType)):
        return None
    seen.add(id(value))
    holder = owner if kind in (list, tuple, dict, set, frozenset) and owner is not None else value
    for part in _parts(value):
        found = _find(part, holder, depth - 1, seen)
        if found is not None:
            return found
    return None


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif callable(value) and hasattr(value, "__code__"):
        yield from _captured(value)
    if hasattr(value, "__dict__") and not callable(value):
        yield from vars(value).values()
    for name in ("__pydantic_extra__", "__pydantic_private__"):
        extra = getattr(value, name, None) if hasattr(type(value), "model_fields") else None
        if isinstance(extra, dict):
            yield from extra.values()
    yield from _slots(value)


def _slots(value: Any) -> Iterator[Any]:
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in ("__dict__", "__weakref__") or name.startswith("__pydantic"):
                continue
            try:
                yield object.__getattribute__(value, name)
            except AttributeError:
                continue


def _captured(fn: Any) -> Iterator[Any]:
    for cell in getattr(fn, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from getattr(fn, "__defaults__", None) or ()
    yield from (getattr(fn, "__kwdefaults__", None) or {}).values()


def closed_over(fn: Any) -> Traced | None:
    """A traced value that a function has in its closure or defaults, also in a list or model there."""
    held = (getattr(fn, name, None) for name in ("__closure__", "__defaults__", "__kwdefaults__"))
    if not any(held) and not isinstance(fn, functools.partial):
        return None
    for part in _parts(fn):
        found = find(part)
        if found is not None:
            return found[0]
    return None
