"""The inputs and the output of a step, read from its annotations when it is decorated.

Text annotations (PEP 563) and types local to a function are resolved with the locals of the enclosing frames.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin

from agentfleet.errors import TraceError
from agentfleet.graph import types
from agentfleet.labels import Label, join_all

if TYPE_CHECKING:
    from agentfleet.schema import Codec


class Empty(Enum):
    """The type of `EMPTY`, which marks a parameter without a default."""

    EMPTY = "empty"

    def __repr__(self) -> str:
        return "EMPTY"


EMPTY: Final[Literal[Empty.EMPTY]] = Empty.EMPTY


@dataclass(frozen=True)
class Param:
    """One input. `annotation` keeps its `Annotated` extras; `factory` makes a default where there is no fixed one.

    `label`: how sensitive the annotation says it is. `by_reference`: a plan may only point at a value for it.
    """

    name: str
    annotation: Any
    default: Any = EMPTY
    label: Label | None = None
    by_reference: bool = False
    keyword_only: bool = False
    factory: Callable[[], Any] | None = None

    @property
    def required(self) -> bool:
        return self.default is EMPTY and self.factory is None

    @cached_property
    def codec(self) -> Codec:
        """Reads, writes and checks values of the annotation."""
        from agentfleet.schema import codec

        return codec(self.annotation)

    def make_default(self) -> Any:
        """The default, a fresh copy where it could be changed."""
        if self.factory is not None:
            return self.factory()
        return copy.deepcopy(self.default) if isinstance(self.default, (list, dict, set)) else self.default


@dataclass(frozen=True, slots=True)
class Signature:
    """What decoration read: the inputs in order, the output's type, and whether the body is awaited."""

    params: tuple[Param, ...]
    returns: Any
    is_async: bool


class _Locals(Mapping[str, Any]):
    """Names visible where a function was written: the locals of the frames around it, innermost first."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.found: dict[str, Any] | None = None

    def _names(self) -> dict[str, Any]:
        if self.found is None:
            self.found = self._collect()
        return self.found

    def _collect(self) -> dict[str, Any]:
        names: dict[str, Any] = {}
        module = getattr(self.fn, "__globals__", None)
        if module is None:  # a class
            module = vars(sys.modules.get(self.fn.__module__, sys))
        scopes = []
        frame = sys._getframe(1)
        while frame is not None:
            own = frame.f_locals is not module and not isinstance(frame.f_locals, _Locals)  # eval's frame holds us
            if frame.f_globals is module and own:
                scopes.append(frame.f_locals)
            frame = frame.f_back  # type: ignore[assignment]
        for scope in reversed(scopes):
            names.update(scope)
        free = getattr(getattr(self.fn, "__code__", None), "co_freevars", ())
        for name, cell in zip(free, getattr(self.fn, "__closure__", None) or (), strict=False):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not bound yet
                continue
        return names

    def __getitem__(self, name: str) -> Any:
        return self._names()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


def place(fn: Callable[..., Any]) -> str:
    """Where a function stands, for the end of a message: ``[desk.py:12]``."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f" [{code.co_filename}:{code.co_firstlineno}]" if code is not None else ""


def _hints(fn: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn, localns=typing.cast("dict[str, Any]", _Locals(fn)), include_extras=True)
    except NameError as error:
        missing = error.name or str(error)
        text = f"{name}: cannot find the type {missing!r}. Define or import it above (not under TYPE_CHECKING)."
        raise TraceError(text + place(fn)) from None
    except Exception as error:
        raise TraceError(f"{name}: an annotation cannot be read ({error}). Write a type there.{place(fn)}") from error


def _complete(hint: Any, fn: Callable[..., Any]) -> None:
    """Let a model that names a type local to an enclosing function find it (pydantic looks one frame up only)."""
    for part in get_args(hint):
        _complete(part, fn)
    if getattr(hint, "__pydantic_complete__", True) is False and hasattr(hint, "model_rebuild"):
        hint.model_rebuild(raise_errors=False, _types_namespace=dict(_Locals(fn)))


def read_signature(fn: Callable[..., Any], name: str, what: str = "step") -> Signature:
    """The signature of a function. Raises TraceError for what no schema can be made of."""
    hints = _hints(fn, name)
    for hint in hints.values():
        _complete(hint, fn)
    params = []
    for param in inspect.signature(fn).parameters.values():
        _refuse_kind(param, name, fn, hints)
        params.append(_param(name, param, hints[param.name], fn, what))
    if "return" not in hints:
        raise TraceError(f"{name}: write what it returns: def {name}(...) -> TYPE.{place(fn)}")
    returns, awaited = _awaited(hints["return"])
    _refuse_generic(returns, name, fn, what)
    return Signature(tuple(params), returns, awaited or inspect.iscoroutinefunction(fn))


def _awaited(returns: Any) -> tuple[Any, bool]:
    """``Awaitable[R]`` of a plain def means an awaited R."""
    args = get_args(returns)
    if get_origin(returns) in (Awaitable, Coroutine) and args:
        return args[-1], True
    return returns, False


def _refuse_kind(param: inspect.Parameter, name: str, fn: Callable[..., Any], hints: dict[str, Any]) -> None:
    if param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD):
        raise TraceError(f"{name}: {param} has no fixed names; write each input as a parameter.{place(fn)}")
    if param.kind is param.POSITIONAL_ONLY:
        raise TraceError(f"{name}: {param.name!r} is positional-only, but inputs have names; drop the /.{place(fn)}")
    if param.name not in hints:
        if param.name in ("self", "cls"):
            raise TraceError(f"{name} is a method; steps are functions. Move it out of the class.{place(fn)}")
        raise TraceError(f"{name}: parameter {param.name!r} has no type; write {param.name}: TYPE.{place(fn)}")


def _param(name: str, param: inspect.Parameter, hint: Any, fn: Callable[..., Any], what: str) -> Param:
    _refuse_generic(hint, name, fn, what)
    default = EMPTY if param.default is param.empty else param.default
    if default is not EMPTY and not types.assignable(types.type_of(default), hint):
        wanted = types.describe(hint)
        raise TraceError(f"{name}: the default of {param.name!r}, {default!r}, is no {wanted}.{place(fn)}")
    return make_param(param.name, hint, default, keyword_only=param.kind is param.KEYWORD_ONLY)


def make_param(
    name: str,
    annotation: Any,
    default: Any = EMPTY,
    *,
    keyword_only: bool = False,
    factory: Callable[[], Any] | None = None,
) -> Param:
    """A parameter with what its annotation says about labels and references."""
    return Param(name, annotation, default, label_of(annotation), _by_reference(annotation), keyword_only, factory)


def label_of(annotation: Any) -> Label | None:
    """The join of the labels in an annotation (also inside ``list[…]`` and unions), None without any."""
    found = list(_labels(annotation))
    return join_all(found, found[0]) if found else None


def _labels(annotation: Any) -> Iterator[Label]:
    yield from (extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, Label))
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _labels(part)


def _by_reference(annotation: Any) -> bool:
    extras = getattr(annotation, "__metadata__", ())
    if not extras:
        return False
    from agentfleet.schema import ByReference

    return any(isinstance(extra, ByReference) or extra is ByReference for extra in extras)


def _refuse_generic(annotation: Any, name: str, fn: Callable[..., Any], what: str) -> None:
    if _open(annotation):
        shown = types.describe(annotation)
        raise TraceError(f"{name}: {shown} is generic; a {what} needs a concrete type.{place(fn)}")


def _open(annotation: Any) -> bool:
    """Does a type variable stand anywhere in a type?"""
    if isinstance(annotation, (TypeVar, typing.ParamSpec)):
        return True
    return get_origin(annotation) is not Literal and any(
        _open(part) for part in get_args(annotation) if not isinstance(part, list)
    )


def read_class(cls: type) -> tuple[Param, ...]:
    """The inputs of ``step(Model)``: the fields of a pydantic model or dataclass, else the parameters of `__init__`."""
    if hasattr(cls, "model_fields"):
        return tuple(_model_param(field, info) for field, info in cls.model_fields.items() if info.init is not False)
    if dataclasses.is_dataclass(cls):
        hints = _hints(cls, cls.__name__)
        return tuple(_dataclass_param(f, hints[f.name]) for f in dataclasses.fields(cls) if f.init)
    init = vars(cls).get("__init__") or getattr(cls, "__init__", None)
    if not inspect.isfunction(init):
        raise TraceError(f"step({cls.__name__}): write a function that makes one; its inputs need names and types")
    hints = _hints(init, cls.__name__)
    found = list(inspect.signature(cls).parameters.values())
    for param in found:
        _refuse_kind(param, cls.__name__, cls, hints)
    return tuple(_param(cls.__name__, param, hints[param.name], cls, "step") for param in found)


def _model_param(name: str, info: Any) -> Param:
    annotation = info.annotation
    if info.metadata:
        annotation = typing.Annotated[(annotation, *info.metadata)]
    if info.default_factory is not None:
        return make_param(name, annotation, keyword_only=True, factory=_factory(info))
    return make_param(name, annotation, EMPTY if info.is_required() else info.default, keyword_only=True)


def _factory(info: Any) -> Callable[[], Any]:
    """The model's own default (a factory that reads other fields is given none of them)."""
    return lambda: info.get_default(call_default_factory=True, validated_data={})


def _dataclass_param(field: dataclasses.Field[Any], hint: Any) -> Param:
    missing = dataclasses.MISSING
    default = EMPTY if field.default is missing else field.default
    factory = None if field.default_factory is missing else field.default_factory
    return make_param(field.name, hint, default, keyword_only=bool(field.kw_only), factory=factory)


def constructor(cls: type) -> Callable[..., Any]:
    """What ``step(Model)`` calls: the class, or for a model whose fields have aliases one that goes by field names."""
    fields = getattr(cls, "model_fields", {})
    if not any(info.validation_alias is not None for info in fields.values()):
        return cls

    def make(**values: Any) -> Any:
        return cls.model_validate(values, by_alias=False, by_name=True)  # type: ignore[attr-defined]

    make.__name__, make.__qualname__, make.__module__, make.__doc__ = (
        cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__,
    )  # fmt: skip
    return make
