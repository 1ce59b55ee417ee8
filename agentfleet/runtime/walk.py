"""One attempt of a run from its first node to its end: done, waiting, paused, failed or cancelled, committed as such."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from agentfleet.errors import AgentfleetError, StaleEpoch
from agentfleet.labels import INTERNAL, join_all
from agentfleet.ledger.records import Finish
from agentfleet.runtime.context import Blocked, Interrupted, RunContext
from agentfleet.runtime.events import RunFinished, RunStarted
from agentfleet.runtime.mailbox import awaited
from agentfleet.runtime.node import run_node
from agentfleet.runtime.run import Run
from agentfleet.runtime.scope import Scope

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


async def walk(context: RunContext, step: Step[..., Any], inputs: dict[str, Any]) -> Run[Any]:
    """Run and commit the end. Never raises for what a step did; raises LedgerError when the record cannot be kept."""
    began = time.monotonic()
    context.emit(RunStarted(context.id, context.graph))
    status, value, text, error = "failed", None, None, ""
    cause: BaseException | None = None
    try:
        async with asyncio.timeout(context.seconds_left()):
            value = await _whole(context, step, inputs)
        status, text = "done", step.codec.dump(value)
    except Blocked:
        status = "waiting"
    except Interrupted:
        status = "paused"
    except TimeoutError as late:
        status, error, cause = "cancelled", "its deadline passed", late
    except asyncio.CancelledError:
        if context.stopping:  # a second Ctrl-C
            await _end(context, "paused", None, "")
        else:
            await _end(context, "cancelled", None, "cancelled by the caller")
        raise
    except Exception as failure:
        if failure is context.broken:
            raise
        error, cause = str(failure) or type(failure).__name__, failure
    if context.broken is not None:
        raise context.broken
    await _end(context, status, text, error)
    run: Run[Any] = Run(
        id=context.id, graph=context.graph, status=status, result=value, error=error, steps=dict(context.records),
        cost=context.spent, unpriced=context.unpriced, repeated=context.repeated,
        seconds=time.monotonic() - began, result_json=text, cause=cause,
    )  # fmt: skip
    context.emit(RunFinished(run))
    return run


async def _whole(context: RunContext, step: Step[..., Any], inputs: dict[str, Any]) -> Any:
    labels = {p.name: p.label or INTERNAL for p in step.params}
    if step.lies_open:
        scope = Scope(context, step.dag, inputs, labels, "", 0, run_node)  # type: ignore[attr-defined]
        value, _ = await scope.run()
        return value
    value, _ = await run_node(context, step, inputs, join_all(labels.values()), step.name, 0, labels)
    return value


async def _end(context: RunContext, status: str, text: str | None, error: str) -> None:
    """The end of a run is durable before anyone hears of it."""
    body = None if not error else json.dumps({"message": error})
    future = context.commit(finish=Finish(status, text, body))  # type: ignore[arg-type]
    try:
        await awaited(future)
    except StaleEpoch:
        if status != "cancelled":
            raise
    except AgentfleetError:
        raise
