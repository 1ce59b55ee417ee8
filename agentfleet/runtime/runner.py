"""The runner that the face hands down: what happens when a step is called, run, awaited, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from agentfleet.errors import RunFailed, UsageError
from agentfleet.runtime.composite import go_on
from agentfleet.runtime.context import Blocked, Body, Interrupted, current
from agentfleet.runtime.events import Event
from agentfleet.runtime.loop import LOOP, running_loop
from agentfleet.runtime.node import run_node
from agentfleet.runtime.run import Run, StepRecord
from agentfleet.runtime.session import Session

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

_session: Session | None = None


def session() -> Session:
    """The session of this process, made at first use from the project around the working directory."""
    global _session
    if _session is None:
        _session = Session()
    return _session


def use_session(new: Session | None) -> Session | None:
    """Put another session in place (tests, the command line); returns the one before."""
    global _session
    old, _session = _session, new
    return old


class LocalRunner:
    """Speaks `agentfleet.runner.Runner`."""

    def call(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> Any:
        body = current.get()
        if body is not None:
            return self._child(body, step, inputs).result
        run = session().run(step, inputs)
        if run.cause is not None and run.status == "failed":
            raise run.cause
        return run.value

    def run(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> Run[Any]:
        body = current.get()
        if body is not None:
            return self._child(body, step, inputs)
        return session().run(step, inputs)

    async def arun(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> Run[Any]:
        body = current.get()
        if body is not None:
            return await _run_child(body, step, dict(inputs))
        return await session().arun(step, inputs)

    async def stream(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> AsyncIterator[Event]:
        async for event in session().stream(step, inputs):
            yield event

    def submit(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> str:
        raise UsageError(f"{step.name}.submit needs background workers, which this version does not have; use .run")

    @staticmethod
    def _child(body: Body, step: Step[..., Any], inputs: Mapping[str, Any]) -> Run[Any]:
        """A call inside a running sync body: a child node of that run, awaited by this thread."""
        if running_loop() is not None:
            raise UsageError(
                f"{step.name} was called inside an async step, where a call would block the loop; "
                f"write: (await {step.name}.arun(...)).value"
            )
        return asyncio.run_coroutine_threadsafe(_run_child(body, step, dict(inputs)), LOOP.loop).result()


async def _run_child(body: Body, step: Step[..., Any], inputs: dict[str, Any]) -> Run[Any]:
    """Run a child node; its record is a small Run. A child that waits blocks its parent; one that fails raises."""
    context = body.context
    try:
        go_on(context)
    except Interrupted:
        body.blocked = True
        raise
    path = body.child_path(step.options.name or step.name)
    token = current.set(None)
    try:
        value, label = await run_node(context, step, inputs, body.label, path, body.depth)
        body.label = body.label.join(label)
    except Blocked:
        body.blocked = True
        raise
    finally:
        current.reset(token)
    steps = {p: record for p, record in context.records.items() if p == path or p.startswith((path + "/", path + "#"))}
    record: StepRecord | None = context.records.get(path)
    if record is None:
        raise RunFailed(f"{path} left no record")
    cost = sum(r.cost for r in steps.values())
    return Run(context.id, step.name, "done", value, steps=steps, cost=cost, result_json=record.value_json)
