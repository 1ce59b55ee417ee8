"""What is known about a type while a graph is traced: may a value of one type stand where another is asked for,
what type has a field or an item, and how is a type written in a message. Pure functions; no tracing here.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from agentfleet.errors import nearest

NONE = type(None)
SCALARS = (str, int, float, bool, NONE)
_SEQUENCES: tuple[Any, ...] = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_MAPPINGS: tuple[Any, ...] = (dict, abc.Mapping, abc.MutableMapping)


class NoField(Exception):
    """A type has no such field or item (or not safely); the message is fit for a TraceError."""


def bare(tp: Any) -> Any:
    """A type without `Annotated`, `Required` and aliases of the `type X = …` kind."""
    while True:
        if tp is None:
            return NONE
        if hasattr(tp, "__metadata__"):
            tp = tp.__origin__
        elif type(tp).__name__ == "TypeAliasType":
            tp = tp.__value__
        elif get_origin(tp) in (typing.Required, typing.NotRequired, typing.ClassVar, typing.Final):
            tp = get_args(tp)[0]
        else:
            return tp


def origin(tp: Any) -> Any:
    """``Plan`` of ``Plan[X]``; the type itself when it takes no arguments."""
    plain = bare(tp)
    return getattr(plain, "__origin__", None) or plain


def arguments(tp: Any) -> tuple[Any, ...]:
    """``(X,)`` of ``Plan[X]``."""
    return tuple(getattr(bare(tp), "__args__", ()))


def is_union(tp: Any) -> bool:
    """``X | Y`` or ``Union[X, Y]``?"""
    return get_origin(tp) in (Union, types.UnionType)


def members(tp: Any) -> list[Any]:
    """The alternatives of a union, flattened; a single type is its own only one."""
    tp = bare(tp)
    return [m for arg in get_args(tp) for m in members(arg)] if is_union(tp) else [tp]


def union(*parts: Any) -> Any:
    """The union of types, each once."""
    flat = list(dict.fromkeys(m for part in parts for m in members(part)))
    return flat[0] if len(flat) == 1 else Union[tuple(flat)]  # noqa: UP007


def optional(tp: Any) -> bool:
    """May a value of the type be None?"""
    return NONE in members(tp)


def describe(tp: Any) -> str:
    """A type as people write it: ``Order | None``, ``list[str]``, ``Literal['a', 'b']``."""
    tp = bare(tp)
    if tp is NONE:
        return "None"
    if tp is Ellipsis:
        return "..."
    if is_union(tp):
        return " | ".join(describe(arg) for arg in get_args(tp))
    origin, args = get_origin(tp), get_args(tp)
    if origin is Literal:
        return f"Literal[{', '.join(str(a) if isinstance(a, Enum) else repr(a) for a in args)}]"
    if origin is not None and args:
        inner = ", ".join("[...]" if isinstance(a, list) else describe(a) for a in args)
        return f"{_name(origin)}[{inner}]"
    return _name(tp)


def _name(tp: Any) -> str:
    if isinstance(tp, TypeVar):
        return repr(tp)
    return str(getattr(tp, "__name__", None) or getattr(tp, "_name", None) or tp)


def type_of(value: Any) -> Any:
    """The narrowest type that a checker would give a value: literals for scalars, member types for containers."""
    if value is None:
        return NONE
    if type(value) in (str, int, bool, bytes) or isinstance(value, Enum):
        return Literal[value]
    if type(value) is list:
        return list[union(*map(type_of, value))] if value else list[Any]  # type: ignore[misc]
    if type(value) is tuple:
        return tuple[tuple(type_of(v) for v in value)]  # type: ignore[misc]
    if type(value) is dict:
        keys, values = map(type_of, value), map(type_of, value.values())
        return dict[union(*keys), union(*values)] if value else dict[Any, Any]  # type: ignore[misc]
    return type(value)


def assignable(source: Any, target: Any) -> bool:
    """May a value of type `source` stand where `target` is asked for? Unknown cases are allowed.

    Containers are covariant here: a step's value never changes.
    """
    source, target = bare(source), bare(target)
    if source is Any or target is Any or target is object or source == target or source is typing.NoReturn:
        return True
    if isinstance(source, TypeVar) or isinstance(target, TypeVar):
        return True
    if is_union(source):
        return all(assignable(member, target) for member in members(source))
    if get_origin(source) is Literal:
        return all(_literal_fits(value, target) for value in get_args(source))
    if is_union(target):
        return any(assignable(source, member) for member in members(target)) or _covers(target, source)
    if get_origin(target) is Literal:
        return _covers(target, source)
    if isinstance(source, typing.NewType):
        return assignable(source.__supertype__, target)
    if isinstance(target, typing.NewType):
        return False
    return _classes_fit(source, target)


def _literal_fits(value: Any, target: Any) -> bool:
    for member in members(target):
        if get_origin(member) is Literal:
            if any(type(value) is type(arg) and value == arg for arg in get_args(member)):
                return True
        elif assignable(type(value), member):
            return True
    return False


def _covers(target: Any, source: Any) -> bool:
    """Does a Literal (or a union of some) list every value that bool or an Enum has?"""
    values = [True, False] if source is bool else list(source) if _is_enum(source) else []
    return bool(values) and all(_literal_fits(v, t) for v in values for t in [_literals_only(target)])


def _literals_only(target: Any) -> Any:
    kept = [m for m in members(target) if get_origin(m) is Literal]
    return union(*kept) if kept else typing.NoReturn


def is_typeddict(tp: Any) -> bool:
    """Also one of `typing_extensions`, which pydantic wants before Python 3.12."""
    return isinstance(tp, type) and hasattr(tp, "__required_keys__") and hasattr(tp, "__total__")


def _is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, Enum)


def _classes_fit(source: Any, target: Any) -> bool:
    have, want = get_origin(source) or source, get_origin(target) or target
    if not isinstance(have, type) or not isinstance(want, type):
        return True
    if is_typeddict(want):
        return have is want
    if have in (str, bytes) and want in _SEQUENCES:
        return False  # a text is no list of texts: pydantic refuses it when the graph runs
    if (have is int and want in (float, complex)) or (have is float and want is complex):
        return True
    if have is bool and want is float:
        return True
    if want.__module__.startswith("pydantic") and not hasattr(want, "model_fields"):
        return True  # EmailStr and its like are str to every checker
    try:
        if not issubclass(have, want):
            return False
    except TypeError:
        return True
    return _arguments_fit(source, target, have, want)


def _arguments_fit(source: Any, target: Any, have: type, want: type) -> bool:
    given, asked = get_args(source), get_args(target)
    if not given or not asked:
        return True
    if have is tuple:
        return _tuple_fits(given, asked, want)
    return len(given) != len(asked) or all(map(assignable, given, asked))


def _tuple_fits(given: tuple[Any, ...], asked: tuple[Any, ...], want: type) -> bool:
    given_open = given[-1] is Ellipsis
    parts = given[:-1] if given_open else given
    if want is not tuple or asked[-1] is Ellipsis:
        return all(assignable(part, asked[0]) for part in parts)
    return not given_open and len(parts) == len(asked) and all(map(assignable, parts, asked))


def can_equal(left: Any, right: Any) -> bool:
    """Could ``==`` between the two types ever be true? False is a slip of the pen: ``kind == "refnd"``."""
    return any(_pair_equal(a, b) for a in _alternatives(left) for b in _alternatives(right))


def _alternatives(tp: Any) -> Iterator[Any]:
    for member in members(tp):
        if get_origin(member) is Literal:
            yield from (Literal[arg] for arg in get_args(member))
        elif _is_enum(member):
            yield from (Literal[arg] for arg in member)
        else:
            yield member


def _pair_equal(a: Any, b: Any) -> bool:
    if get_origin(a) is Literal and get_origin(b) is Literal:
        return bool(get_args(a)[0] == get_args(b)[0])
    wide_a, wide_b = _widen(a), _widen(b)
    return assignable(wide_a, wide_b) or assignable(wide_b, wide_a)


def _widen(tp: Any) -> Any:
    return type(get_args(tp)[0]) if get_origin(tp) is Literal else tp


def element(tp: Any) -> Any:
    """The type of a list's (Sequence's, set's) members, or Any."""
    args = get_args(bare(tp))
    return args[0] if args else Any


def is_sequence(tp: Any) -> bool:
    """Does the type take a list?"""
    return (get_origin(tp) or tp) in _SEQUENCES


def is_mapping(tp: Any) -> bool:
    """Does the type take a dict?"""
    return (get_origin(tp) or tp) in _MAPPINGS


def fixed_tuple(tp: Any) -> tuple[Any, ...] | None:
    """The member types of a tuple of fixed length, else None."""
    tp = bare(tp)
    args = get_args(tp)
    if get_origin(tp) is tuple and args and args[-1] is not Ellipsis:
        return args
    if isinstance(tp, type) and issubclass(tp, tuple) and hasattr(tp, "_fields"):
        hints = hints_of(tp)
        return tuple(hints.get(name, Any) for name in tp._fields)
    return None


@functools.lru_cache(maxsize=512)
def hints_of(cls: type) -> dict[str, Any]:
    """The annotated names of a class with their types; what cannot be resolved is Any."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # a forward reference that only exists elsewhere: the runtime will know
        return {name: Any for base in reversed(cls.__mro__) for name in vars(base).get("__annotations__", {})}


def fields_of(tp: Any) -> dict[str, Any]:
    """The data fields of a model, dataclass, NamedTuple or annotated class, with their types."""
    cls = get_origin(tp) or tp
    if not isinstance(cls, type) or is_typeddict(cls):
        return {}
    if hasattr(cls, "model_fields") and hasattr(cls, "model_computed_fields"):
        found = {name: info.annotation for name, info in cls.model_fields.items()}
        return found | {name: info.return_type for name, info in cls.model_computed_fields.items()}
    hints = hints_of(cls)
    if dataclasses.is_dataclass(cls):
        hints = {f.name: hints.get(f.name, Any) for f in dataclasses.fields(cls)}
    return {name: _substitute(hint, cls, get_args(tp)) for name, hint in hints.items()}


def _substitute(hint: Any, cls: type, args: tuple[Any, ...]) -> Any:
    known = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    if isinstance(hint, TypeVar):
        return known.get(hint, Any)
    open_parts = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    return hint[tuple(known.get(p, Any) for p in open_parts)] if open_parts else hint


def field_type(tp: Any, name: str, shown: str) -> Any:
    """The type of ``value.name``; `shown` is how the value is written. Raises NoField."""
    tp = bare(tp)
    if tp is Any:
        return Any
    if is_union(tp):
        if optional(tp):
            raise NoField(_unsafe(shown, f".{name}"))
        return union(*(field_type(member, name, shown) for member in members(tp)))
    fields = fields_of(tp)
    if name in fields:
        return fields[name] if fields[name] is not None else Any
    return _attribute_type(tp, name, shown, fields)


def _unsafe(shown: str, use: str) -> str:
    return (
        f"{shown} may be None, so {use} is not safe. Give the whole value to a @step that takes None too,"
        " or make the step's return type one without None."
    )


def _attribute_type(tp: Any, name: str, shown: str, fields: dict[str, Any]) -> Any:
    cls = get_origin(tp) or tp
    if get_origin(tp) is Literal:
        cls = type(get_args(tp)[0])
    if _is_enum(cls) and name in ("name", "value"):
        return str if name == "name" else union(*(type(member.value) for member in cls))
    found = inspect.getattr_static(cls, name, None) if isinstance(cls, type) else None
    if isinstance(found, (property, functools.cached_property)):
        return _returned(found.fget if isinstance(found, property) else found.func)
    if isinstance(found, (types.GetSetDescriptorType, types.MemberDescriptorType)):
        return Any
    if found is None or name.startswith("__"):
        kind = describe(tp)
        raise NoField(f"{kind} has no field {name!r}{nearest(name, fields)}")
    if callable(found) or isinstance(found, (classmethod, staticmethod)):
        raise NoField(f"{shown}.{name} is a method of {_name(cls)}; call it inside a @step.")
    return type(found)


def _returned(fn: Any) -> Any:
    try:
        return typing.get_type_hints(fn, include_extras=True).get("return", Any)
    except Exception:
        return Any


def item_type(tp: Any, key: Any, shown: str) -> Any:
    """The type of ``value[key]`` for a constant key. Raises NoField."""
    tp = bare(tp)
    if tp is Any:
        return Any
    if optional(tp):
        raise NoField(_unsafe(shown, f"[{key!r}]"))
    parts = fixed_tuple(tp)
    if parts is not None and type(key) is int:
        if not -len(parts) <= key < len(parts):
            raise NoField(f"{shown} ({describe(tp)}) has {len(parts)} members; [{key}] is not one of them.")
        return parts[key]
    if is_typeddict(tp):
        hints = hints_of(tp)
        if key not in hints:
            raise NoField(f"{describe(tp)} has no key {key!r}{nearest(str(key), hints)}")
        return hints[key]
    if (is_sequence(tp) or (get_origin(tp) or tp) is tuple) and type(key) is int:
        return element(tp)
    if is_mapping(tp):
        args = get_args(tp)
        if args and not assignable(type_of(key), args[0]):
            raise NoField(f"the keys of {shown} ({describe(tp)}) are {describe(args[0])}; {key!r} is none.")
        return args[1] if len(args) == 2 else Any
    raise NoField(f"{shown} ({describe(tp)}) cannot be indexed with {key!r} while tracing. Do it in a @step.")
