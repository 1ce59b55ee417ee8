"""Walks one DAG: demands what the result and the effects need, starts a node when its inputs are there.

No state is copied; a task is made only for a node that is ready; a branch not taken is never demanded.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from agentfleet.graph.conditions import conditions
from agentfleet.graph.dag import Dag, Expr, Node, Out, evaluate, missing, sources
from agentfleet.labels import INTERNAL, PUBLIC, Label
from agentfleet.runtime.context import Blocked, Interrupted, RunContext

RunNode = Callable[..., Awaitable[tuple[Any, Label]]]
_RESULT = ""
BREATH = 64
"""Nodes that one task runs without giving the loop to others."""
HOLDERS = frozenset({"graph", "each", "repeat", "carry_out"})
"""Kinds of steps that hold others: they are handed the label of each input, not only the join of all."""


class Scope:
    """One walk over one DAG. `prefix` is put before node ids ("sub/"); `labels` are those of the inputs.

    `base`: what every node is labelled with at least, because it rests on it that this walk takes place.
    """

    def __init__(
        self,
        context: RunContext,
        dag: Dag,
        inputs: Mapping[str, Any],
        labels: Mapping[str, Label],
        prefix: str,
        depth: int,
        run_node: RunNode,
        base: Label = PUBLIC,
    ) -> None:
        self.context = context
        self.dag = dag
        self.inputs = inputs
        self.input_labels = labels
        self.prefix = prefix
        self.depth = depth
        self.run_node = run_node
        self.base = base
        self.conditions = conditions(dag)
        self.values: dict[str, Any] = {}
        self.labels: dict[str, Label] = {}
        self.wanted: set[str] = set()
        self.need: dict[str, int] = {}
        self.readers: dict[str, list[str]] = {}
        self.ready: list[str] = []
        self.active: set[asyncio.Task[None]] = set()
        self.error: BaseException | None = None
        self.blocked = False
        self.idle = asyncio.get_running_loop().create_future()

    async def run(self) -> tuple[Any, Label]:
        """The result and its label. Raises the first failure, Blocked when something waits, Interrupted."""
        self._want((*self.dag.roots, _RESULT))
        for node_id in self._taken():
            self._spawn(node_id)
        if self.active:
            try:
                await self.idle
            except asyncio.CancelledError:
                await self._cancel()
                raise
        if self.error is not None:
            raise self.error
        if self.blocked:
            raise Blocked
        if self.context.stopping:
            self.context.check()
            raise Interrupted
        return evaluate(self.dag.result, self.values, self.inputs), self._label((self.dag.result,))

    def _want(self, ids: Iterable[str]) -> None:
        stack = list(ids)
        while stack:
            node_id = stack.pop()
            if node_id not in self.wanted:
                self.wanted.add(node_id)
                stack.extend(self._wait_for(node_id))

    def _wait_for(self, node_id: str) -> Collection[str]:
        """Launch the node, or note what it lacks and return that."""
        lacking = self._missing(node_id)
        if not lacking:
            self._launch(node_id)
            return ()
        self.need[node_id] = len(lacking)
        for other in lacking:
            self.readers.setdefault(other, []).append(node_id)
        return lacking

    def _missing(self, node_id: str) -> Collection[str]:
        if node_id == _RESULT:
            return missing(self.dag.result, self.values, self.inputs)
        if not self.dag.conditional[node_id]:
            return [d for d in self.dag.depends[node_id] if d not in self.values]
        found: set[str] = set()
        for expr in self.dag.nodes[node_id].bindings.values():
            found |= missing(expr, self.values, self.inputs)
        return found

    def _launch(self, node_id: str) -> None:
        if node_id != _RESULT:
            self.ready.append(node_id)

    def _taken(self) -> list[str]:
        """What became ready since the last call; nothing once the walk is to end."""
        ready, self.ready = self.ready, []
        return [] if self.error is not None or self.context.stopping else ready

    def _spawn(self, node_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._work(node_id))
        self.active.add(task)

    async def _work(self, node_id: str) -> None:
        """Run a node, then what it made ready: the first here, so that a chain is one task, others in tasks of theirs."""
        ready = [node_id]
        for count in itertools.count(1):
            await self._node(self.dag.nodes[ready[0]])
            ready = self._taken()
            if not ready:
                break
            for other in ready[1:]:
                self._spawn(other)
            if count % BREATH == 0:
                await asyncio.sleep(0)
        self._ended()

    async def _node(self, node: Node) -> None:
        try:
            inputs = {name: evaluate(expr, self.values, self.inputs) for name, expr in node.bindings.items()}
            base = self._base(node) if node.id in self.conditions else self.base
            label = self._label(node.bindings.values())
            if base is not PUBLIC:
                label = label.join(base)
            path, each = self.prefix + node.id, None
            if node.step.kind in HOLDERS:
                each = {name: self._label((expr,)) for name, expr in node.bindings.items()}
            value, out = await self.run_node(self.context, node.step, inputs, label, path, self.depth, each, base)
        except Blocked:
            self.blocked = True
        except Interrupted:
            pass
        except asyncio.CancelledError:
            if not self.idle.done():
                self.error = self.error or asyncio.CancelledError()
        except BaseException as error:
            self.error = self.error or error
        else:
            self.values[node.id] = value
            self.labels[node.id] = out
            self._advance(node.id)

    def _base(self, node: Node) -> Label:
        """`base`, and the labels of the conditions that decided that this node runs."""
        known = (test for test in self.conditions[node.id] if not missing(test, self.values, self.inputs))
        return self.base.join(self._label(known))

    def _advance(self, node_id: str) -> None:
        for reader in self.readers.pop(node_id, ()):
            self.need[reader] -= 1
            if self.need[reader]:
                continue
            if reader == _RESULT or self.dag.conditional[reader]:
                self._want(self._wait_for(reader))
            else:
                self.ready.append(reader)

    def _ended(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.active.discard(task)
        if not self.active and not self.idle.done():
            self.idle.set_result(None)

    def _label(self, exprs: Iterable[Expr]) -> Label:
        label: Label | None = None
        for expr in exprs:
            found: Iterable[Any] = (expr,) if type(expr) is Out else sources(expr, self.values, self.inputs)
            for source in found:
                inside = type(source) is Out
                one = self.labels[source.node] if inside else self.input_labels.get(source.name, INTERNAL)
                if one is not label:
                    label = one if label is None else label.join(one)
        return PUBLIC if label is None else label

    async def _cancel(self) -> None:
        tasks = list(self.active)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
