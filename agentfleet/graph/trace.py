"""What stands for a step's value while a graph is traced, and `ask`, with which a skill's body says what is read.

A `Traced` is an expression with a type: reading a field, an item or comparing yields another one; whatever would need
the value itself is an error that says what to do instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, Never, NoReturn

from agentfleet import runner
from agentfleet.errors import TraceError, UsageError
from agentfleet.graph import types
from agentfleet.graph.dag import Const, Expr, Field, Input, Item, Node, Op, Out, Pack, When
from agentfleet.graph.signature import Signature
from agentfleet.graph.source import code_of, nested

_INNER = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>")
_LATER = "is known only when the graph runs"


class Ask(BaseException):
    """Raised by `ask`: the body wants a model to answer, and has shown `parts`. Caught by the runtime alone."""

    def __init__(self, parts: tuple[Any, ...]) -> None:
        super().__init__("ask")
        self.parts = parts


def ask(*parts: object) -> Never:
    """End a skill's body: let a model answer, reading `parts` (usually the inputs). Never returns.

    Raises UsageError outside a skill's body.
    """
    trace = current.get()
    if trace is not None:
        raise trace.fail("ask(...) belongs into a skill's body (extract, classify, summarise, plan); call one here")
    if not runner.asking.get():
        raise UsageError("ask(...) only works in the body of a skill (extract, classify, summarise, plan)")
    if not parts:
        raise UsageError("ask() shows the model nothing; pass what it is to read: ask(email)")
    raise Ask(parts)


class Trace:
    """One tracing of one graph: the nodes so far, the `when`s made, and the code that may wire."""

    def __init__(self, fn: Any, name: str, signature: Signature) -> None:
        self.fn = fn
        self.name = name
        self.signature = signature
        self.key = (fn.__module__, fn.__qualname__)
        code = code_of(fn)
        self.codes: set[CodeType] = set()
        while True:  # a decorated function may wire as well as what it wraps
            if getattr(fn, "__code__", None) is not None:
                self.codes |= {fn.__code__, *nested(fn.__code__, _INNER)}
            if not hasattr(fn, "__wrapped__"):
                break
            fn = fn.__wrapped__
        self.file = code.co_filename if code else ""
        self.first_line = code.co_firstlineno if code else 0
        self.nodes: dict[str, Node] = {}
        self.whens: list[tuple[When, int]] = []
        self.open = True

    def line(self) -> int:
        """The line of the graph function that is being run, 0 when it is not."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code in self.codes:
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def fail(self, message: str) -> TraceError:
        """The error of this graph, with the line that it is at."""
        line = self.line() if self.open else 0
        return TraceError(f"{self.name}, line {line}: {message}" if line else f"{self.name}: {message}")


current: ContextVar[Trace | None] = ContextVar("agentfleet_trace", default=None)
"""The tracing that goes on in this context, if any."""


def show(expr: Expr) -> str:
    """An expression as the user wrote it, more or less: ``intent == 'refund'``."""
    if isinstance(expr, Input):
        return expr.name
    if isinstance(expr, Out):
        return expr.node
    if isinstance(expr, Const):
        text = repr(expr.value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    if isinstance(expr, Field):
        return f"{show(expr.of)}.{expr.name}"
    if isinstance(expr, Item):
        return f"{show(expr.of)}[{expr.key!r}]"
    if isinstance(expr, Op):
        return f" {expr.name} ".join(f"({show(a)})" if isinstance(a, Op) else show(a) for a in expr.args)
    if isinstance(expr, When):
        return f"when({show(expr.condition)}, {show(expr.value)}, otherwise={show(expr.otherwise)})"
    return _show_pack(expr)


def _show_pack(pack: Pack) -> str:
    parts = [show(item) for item in pack.items]
    if pack.kind == "dict":
        return "{" + ", ".join(f"{k!r}: {v}" for k, v in zip(pack.keys, parts, strict=True)) + "}"
    return f"({', '.join(parts)})" if pack.kind == "tuple" else f"[{', '.join(parts)}]"


class Traced:
    """Stands for a value that is known only when the graph runs. Users never name this class."""

    __slots__ = ("_af_expr", "_af_trace", "_af_type")
    _af_expr: Expr
    _af_type: Any
    _af_trace: Trace

    def __init__(self, expr: Expr, tp: Any, trace: Trace) -> None:
        put = object.__setattr__
        put(self, "_af_expr", expr)
        put(self, "_af_type", tp)
        put(self, "_af_trace", trace)

    # What may be done while wiring: fields, items, comparisons, & and |.

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        try:
            tp = types.field_type(self._af_type, name, shown(self))
        except types.NoField as problem:
            raise self._af_trace.fail(str(problem)) from None
        return Traced(Field(self._af_expr, name), tp, self._af_trace)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Traced):
            refuse(key, "look up", "Do it in a @step.", f" in {shown(self)}")
        if type(key) not in (int, str):
            refuse(self, f"take {key!r} of" if not isinstance(key, slice) else "slice", "Do it in a @step.")
        try:
            tp = types.item_type(self._af_type, key, shown(self))
        except types.NoField as problem:
            raise self._af_trace.fail(str(problem)) from None
        return Traced(Item(self._af_expr, key), tp, self._af_trace)

    def __iter__(self) -> Iterator[Any]:
        parts = types.fixed_tuple(self._af_type)
        if parts is None:
            problem = f"cannot loop over {titled(self)}: its length {_LATER}. Use each(step)({shown(self)})."
            raise self._af_trace.fail(problem)
        return iter([Traced(Item(self._af_expr, i), tp, self._af_trace) for i, tp in enumerate(parts)])

    def __eq__(self, other: object) -> Any:
        return compare("==", self, other)

    def __ne__(self, other: object) -> Any:
        return compare("!=", self, other)

    def __lt__(self, other: object) -> Any:
        return compare("<", self, other)

    def __le__(self, other: object) -> Any:
        return compare("<=", self, other)

    def __gt__(self, other: object) -> Any:
        return compare(">", self, other)

    def __ge__(self, other: object) -> Any:
        return compare(">=", self, other)

    def __and__(self, other: object) -> Any:
        return combine("&", self, other)

    def __or__(self, other: object) -> Any:
        return combine("|", self, other)

    __rand__ = __and__
    __ror__ = __or__

    # What would need the value.

    def __bool__(self) -> bool:
        raise self._af_trace.fail(
            f"cannot decide on {titled(self)}: its value {_LATER}. Use when(condition, value, otherwise=...);"
            " for and/or use & and |; for not, swap the branches."
        )

    def __str__(self) -> str:
        return _text(self)

    def __repr__(self) -> str:
        return _text(self)

    def __format__(self, spec: str) -> str:
        return _text(self)

    def __len__(self) -> int:
        refuse(self, "measure", "Do it in a @step.")

    def __contains__(self, item: object) -> bool:
        refuse(self, "look into", "Do it in a @step.")

    def __reversed__(self) -> Iterator[Any]:
        refuse(self, "reverse", "Do it in a @step.")

    def __hash__(self) -> int:
        refuse(self, "use", "Use a list.", " as a key or in a set")

    def __call__(self, *args: object, **kwargs: object) -> Any:
        refuse(self, "call", "It is a step's value, not a function.")

    def __await__(self) -> Any:
        refuse(self, "await", "A graph is traced, not awaited: a call means the value.")

    def __enter__(self) -> Any:
        refuse(self, "open", "Do it in a @step.")

    def __exit__(self, *error: object) -> None:
        refuse(self, "close", "Do it in a @step.")

    def __setattr__(self, name: str, value: object) -> None:
        _unchangeable(self)

    def __delattr__(self, name: str) -> None:
        _unchangeable(self)

    def __setitem__(self, key: object, value: object) -> None:
        _unchangeable(self)

    def __delitem__(self, key: object) -> None:
        _unchangeable(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        refuse(self, "copy", "It never changes, so pass it on as it is.")


def shown(value: Traced) -> str:
    """How a traced value is written: ``order.amount``."""
    return show(value._af_expr)


def titled(value: Traced) -> str:
    """The same with its type: ``order.amount (float)``."""
    return f"{show(value._af_expr)} ({types.describe(value._af_type)})"


def refuse(value: Traced, verb: str, advice: str, after: str = "") -> NoReturn:
    """Raise the error of a use that needs the value itself."""
    raise value._af_trace.fail(f"cannot {verb} {titled(value)}{after}: it {_LATER}. {advice}")


def _unchangeable(value: Traced) -> NoReturn:
    raise value._af_trace.fail(
        f"cannot change {titled(value)}: a step's result never changes; return a new value from a @step."
    )


def _text(value: Traced) -> str:
    if current.get() is None:  # a debugger or a test report looks at it after the tracing
        return f"<{titled(value)} of graph {value._af_trace.name!r}>"
    raise value._af_trace.fail(
        f"cannot write {titled(value)} into text: it {_LATER}. Put the text together in the skill's body or in a @step."
    )


def own(trace: Trace, value: Traced) -> None:
    """Refuse a value of another graph (or of an earlier tracing)."""
    if value._af_trace is not trace:
        raise trace.fail(f"{titled(value)} belongs to graph {value._af_trace.name!r}, not {trace.name!r}")


def operand(trace: Trace, value: object) -> tuple[Expr, Any]:
    """The expression and type of one side of a comparison."""
    if isinstance(value, Traced):
        own(trace, value)
        return value._af_expr, value._af_type
    return Const(value), types.type_of(value)


def compare(name: str, left: Traced, other: object) -> Traced:
    """A comparison as an expression; one that can have only one outcome is an error."""
    trace = left._af_trace
    expr, tp = operand(trace, other)
    if name in ("==", "!="):
        if not types.can_equal(left._af_type, tp):
            problem = f"{titled(left)} can never equal {show(expr)}"
            raise trace.fail(f"{problem} ({types.describe(tp)})." if not isinstance(expr, Const) else f"{problem}.")
    elif types.optional(left._af_type) or types.optional(tp):
        side = shown(left) if types.optional(left._af_type) else show(expr)
        raise trace.fail(f"{side} may be None, so {name} is not safe. Compare it in a @step.")
    elif not types.can_equal(types.union(left._af_type), _widest(tp)):
        raise trace.fail(f"cannot order {titled(left)} and {show(expr)} ({types.describe(tp)}).")
    return Traced(Op(name, (left._af_expr, expr)), bool, trace)


def _widest(tp: Any) -> Any:
    return types.union(*(types._widen(member) for member in types._alternatives(tp)))


def combine(name: str, left: Traced, other: object) -> Traced:
    """``&`` and ``|`` of two conditions."""
    trace = left._af_trace
    expr, tp = operand(trace, other)
    for side, kind in ((left._af_expr, left._af_type), (expr, tp)):
        if not types.assignable(kind, bool):
            raise trace.fail(
                f"{name} joins conditions, and {show(side)} is {types.describe(kind)}."
                f" Compare first, in brackets: (a == b) {name} (c == d)."
            )
    return Traced(Op(name, (left._af_expr, expr)), bool, trace)


def _arithmetic(symbol: str) -> Callable[..., Any]:
    def method(self: Traced, *_: object) -> Any:
        if symbol in ("+", "*", "%") and types.assignable(self._af_type, str):
            _text(self)
        refuse(self, "compute with", "Compute it in a @step.", f" ({symbol})")

    return method


def _converted(kind: str) -> Callable[..., Any]:
    def method(self: Traced, *_: object) -> Any:
        refuse(self, "turn", "Do it in a @step.", f" into {kind}")

    return method


def _invert(self: Traced) -> Any:
    refuse(self, "turn round", "For not, swap the branches of when(...).")


_ARITHMETIC = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "lshift": "<<", "rshift": ">>", "xor": "^", "divmod": "divmod",
}  # fmt: skip
for _name, _symbol in _ARITHMETIC.items():
    setattr(Traced, f"__{_name}__", _arithmetic(_symbol))
    setattr(Traced, f"__r{_name}__", _arithmetic(_symbol))
for _name, _symbol in {"neg": "-", "pos": "+", "abs": "abs"}.items():
    setattr(Traced, f"__{_name}__", _arithmetic(_symbol))
for _name, _kind in {"int": "int", "float": "float", "complex": "complex", "index": "int", "bytes": "bytes"}.items():
    setattr(Traced, f"__{_name}__", _converted(_kind))
setattr(Traced, "__fspath__", _converted("a path"))  # noqa: B010 -- a checker knows no such method
setattr(Traced, "__invert__", _invert)  # noqa: B010
