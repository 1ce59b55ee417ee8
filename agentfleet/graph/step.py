"""A step: a typed function that a graph may use, that may be called, run, awaited. Graphs and planners are steps too.

Nothing runs here: while a graph is traced a call becomes a node, else the runner of `agentfleet.runner` is asked.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from agentfleet import runner
from agentfleet.errors import TraceError
from agentfleet.graph import types
from agentfleet.graph.binding import bind, checked, only_text
from agentfleet.graph.dag import Dag
from agentfleet.graph.examples import Example, Given, examples_path, load_examples
from agentfleet.graph.fingerprint import base_fingerprint
from agentfleet.graph.options import UNSET, Chosen, OnFail, Options
from agentfleet.graph.signature import Param, Signature
from agentfleet.graph.skill import build_prompt, show_prompt
from agentfleet.graph.trace import current
from agentfleet.graph.tracing import add_node

if TYPE_CHECKING:
    from agentfleet.graph.plan import Plan
    from agentfleet.prompt import Prompt
    from agentfleet.runtime.events import Event
    from agentfleet.runtime.run import Run
    from agentfleet.schema import Codec, Output

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
D = TypeVar("D")

Kind: TypeAlias = Literal["step", "extract", "classify", "summarise", "plan", "graph", "each", "repeat", "carry_out"]
SKILLS = frozenset({"extract", "classify", "summarise", "plan"})


class Step(Generic[P, R]):
    """A reusable typed function. Made by the decorators, never directly.

    Calling it means its value everywhere; ``.run`` and ``.arun`` give the record of the run. `params` and `returns`
    are its resolved signature, `options` what ``using`` set.
    """

    def __init__(
        self,
        kind: Kind,
        fn: Any,
        signature: Signature,
        *,
        name: str = "",
        instruction: str = "",
        tier: str | None = None,
        up_to: str | None = None,
        min_confidence: float | None = None,
        examples: Given = None,
        releases: str | None = None,
        effect: bool = False,
        tools: Sequence[Step[..., Any]] = (),
        at_most: int | None = None,
        inner: Step[..., Any] | None = None,
        at_once: int | None = None,
        key: Callable[[Any], Any] | None = None,
        until: Callable[[Any], bool] | None = None,
        grounded: bool = False,
        split: bool = False,
    ) -> None:
        self.kind: Kind = kind
        self.fn = fn
        self.params: tuple[Param, ...] = signature.params
        self.declared = self.returns = signature.returns
        self.is_async = signature.is_async
        self.name = name or fn.__name__
        self.instruction = instruction
        self.tier = tier
        self.up_to = up_to
        self.min_confidence = min_confidence
        self.releases = releases
        self.effect = effect
        self.tools = tuple(tools)
        self.at_most = at_most
        self.inner = inner
        self.at_once = at_once
        self.key = key
        self.until = until
        self.grounded = grounded
        self.split = split
        self.checks: list[Callable[..., Any]] = []
        self.options = Options()
        self._prints: dict[int, str] = {}
        self._only_text = only_text(self.params)
        self._given = examples
        source: Any = fn if fn is not None else inner and inner.fn
        self.module = str(getattr(source, "__module__", ""))
        self.qualname = str(getattr(source, "__qualname__", self.name))
        code = getattr(source, "__code__", None)
        self.file = code.co_filename if code else str(getattr(sys.modules.get(self.module), "__file__", "") or "")
        self.line = code.co_firstlineno if code else 0
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__name__ = self.name
        self.__module__ = self.module
        self.__wrapped__ = fn

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def lies_open(self) -> bool:
        """Do its nodes lie where it stands, with no node for itself? So it is with graphs that nothing is asked of."""
        return self.kind == "graph" and not self.checks and self.options.on_fail is UNSET

    @property
    def is_skill(self) -> bool:
        """May it ask a model?"""
        return self.kind in SKILLS

    @property
    def node_name(self) -> str:
        """The id of its node in a graph: the name given by ``using``, else its own."""
        return self.options.name or self.name

    @property
    def shown_returns(self) -> str:
        """Its return type as text."""
        return types.describe(self.returns)

    @cached_property
    def has_effects(self) -> bool:
        """Does it, or anything inside it, have an effect?"""
        if self.effect:
            return True
        inside = [self.inner] if self.inner is not None else []
        inside += list(self.inner.tools) if self.kind == "carry_out" and self.inner is not None else []
        return any(step.has_effects for step in inside if step.kind != "plan")

    @cached_property
    def output(self) -> Output | None:
        """What a model must return; None for what is no skill, and for a plan (its form depends on the inputs)."""
        if not self.is_skill or self.kind == "plan":
            return None
        from agentfleet.schema import output_of

        return output_of(self.returns, where=self.name, closed=self.kind == "classify")

    @cached_property
    def codec(self) -> Codec:
        """Reads, writes and checks values of the return type."""
        from agentfleet.schema import codec

        return codec(self.returns)

    @cached_property
    def examples_path(self) -> Path | None:
        """The file of its examples, if there is one."""
        return examples_path(self._given, self.file) if self.is_skill and self.file else None

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """Its worked examples, read at first use. Raises InputError with file and line."""
        return load_examples(self, self._given, self.examples_path) if self.is_skill else ()

    @property
    def base_fingerprint(self) -> str:
        """32 hex digits of all that it is, except inputs, tier and model."""
        known = self._prints.get(len(self.checks))  # shared by its copies, as its checks are
        if known is None:
            known = self._prints[len(self.checks)] = base_fingerprint(self)
        return known

    # -- using it --------------------------------------------------------------------------------------------------

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs by name, complete and validated. Raises InputError with one line a field."""
        only = self._only_text
        if only is not None and not kwargs and len(args) == 1 and type(args[0]) is str:
            return {only: args[0]}
        return bind(self, tuple(args), kwargs)

    def build_prompt(self, inputs: Mapping[str, Any], parts: Sequence[Any] | None = None) -> Prompt:
        """The prompt for these inputs; `parts` is what the body's ``ask`` got, None for all inputs."""
        return build_prompt(self, inputs, parts)

    def prompt(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """What a model would be shown for these inputs, for people to read."""
        if not self.is_skill:
            raise TraceError(f"{self.name} is a {self.kind} and asks no model; only skills have prompts")
        return show_prompt(self, self.bind(args, kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value: a node while a graph is traced, else the result of running it."""
        trace = current.get()
        if trace is not None:
            return add_node(trace, self, args, dict(kwargs), sys._getframe(1))  # type: ignore[no-any-return]
        return runner.runner().call(self, self.bind(args, kwargs))  # type: ignore[no-any-return]

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Run it and return the record: value, status, cost, steps, attempts, waiting."""
        return runner.runner().run(self, self._now(args, kwargs))  # type: ignore[no-any-return]

    async def arun(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """The same, awaited."""
        return await runner.runner().arun(self, self._now(args, kwargs))  # type: ignore[no-any-return]

    def check(self, fn: Callable[Concatenate[R, P], None]) -> Callable[Concatenate[R, P], None]:
        """Decorator: a semantic check of the value, given the same inputs. A ValueError in it re-asks, then climbs.

        It belongs to the step and all its copies. Raises TraceError when it does not take the value and the inputs.
        """
        self.checks.append(checked(self, fn))
        return fn

    @overload
    def using(self, *, on_fail: OnFail = ..., **options: Unpack[Chosen]) -> Self: ...
    @overload
    def using(self, *, on_fail: D, **options: Unpack[Chosen]) -> Step[P, R | D]: ...
    def using(self, **options: Any) -> Any:
        """A copy with options set: see `Options`. Raises UsageError for a value that cannot be meant."""
        other = copy.copy(self)
        other.options = self.options.merged(options, self.name)
        other._own_options()
        return other

    def _own_options(self) -> None:
        """What a copy must change when options are set: a default answer widens the return type."""
        given = types.type_of(self.options.on_fail) if self.options.has_default else self.declared
        self.returns = types.union(self.declared, given)
        for name in ("codec", "_carrier"):
            self.__dict__.pop(name, None)

    def _now(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        trace = current.get()
        if trace is not None:
            raise trace.fail(f"{self.name}.run runs now, and a graph is only traced; write {self.name}(...)")
        return self.bind(args, kwargs)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


class Graph(Step[P, R]):
    """A traced graph of steps; a step itself. `dag` holds its nodes."""

    dag: Dag

    @property
    def hash(self) -> str:
        """A digest of the whole graph: it changes when what any node does changes."""
        return self.base_fingerprint

    @cached_property
    def has_effects(self) -> bool:
        """Does any node have an effect?"""
        return any(node.step.has_effects for node in self.dag.nodes.values())

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Event]:
        """Run it and yield events as they happen; the last is `RunFinished`, with the record."""
        return runner.runner().stream(self, self._now(args, kwargs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Queue a run for background workers and return its id."""
        return runner.runner().submit(self, self._now(args, kwargs))

    def draw(self) -> str:
        """The graph as Mermaid text."""
        from agentfleet.graph.draw import mermaid

        return mermaid(self)

    def to_json(self) -> str:
        """The graph's structure as JSON text."""
        import json

        from agentfleet.graph.draw import to_dict

        return json.dumps(to_dict(self))

    def _repr_html_(self) -> str:
        from agentfleet.graph.draw import svg

        return svg(self)

    @overload
    def using(self, *, on_fail: OnFail = ..., **options: Unpack[Chosen]) -> Self: ...
    @overload
    def using(self, *, on_fail: D, **options: Unpack[Chosen]) -> Graph[P, R | D]: ...
    def using(self, **options: Any) -> Any:
        """A copy with options set."""
        return super().using(**options)


class Planner(Step[P, "Plan[T]"], Generic[P, T]):
    """A skill that writes a plan over its tools; ``carry_out`` does what the plan says."""

    @cached_property
    def _carrier(self) -> Step[..., Any]:
        param = Param("plan", self.declared)
        signature = Signature((param,), (types.arguments(self.declared) or (Any,))[0], False)
        return Step("carry_out", None, signature, name=f"{self.name}.carry_out", inner=self)

    def carry_out(self, plan: Plan[T], /) -> T:
        """Run the plan's steps, checked again against `tools`; each is a node ``NAME.carry_out/s1``."""
        trace = current.get()
        carrier = self._carrier
        if self.options.name:
            carrier = carrier.using(name=f"{self.options.name}.carry_out")
        if trace is not None:
            return add_node(trace, carrier, (plan,), {}, sys._getframe(1))  # type: ignore[no-any-return]
        return carrier(plan)  # type: ignore[no-any-return]
