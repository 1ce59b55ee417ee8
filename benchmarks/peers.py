"""The same graphs in raw asyncio, LangGraph, pydantic-graph and Hamilton.

`Peers` starts this file in another interpreter, which measures one turn each time it is asked: a line of JSON a turn.
None of them is a dependency; one that is not installed there, or cannot run a shape, is reported as missing.
"""

from __future__ import annotations

import asyncio
import json
import operator
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent))

from shapes import CHAIN, DIAMOND, FAN, RUNS, Shapes, steps_of


async def nothing(x: int) -> int:
    return x


async def join(xs: list[int]) -> int:
    return len(xs)


def asyncio_shapes() -> Shapes:
    """A task a step and nothing else: the floor."""

    async def chain() -> int:
        x = 0
        for _ in range(CHAIN):
            x = await asyncio.create_task(nothing(x))
        return x

    async def fan(width: int = FAN) -> int:
        first = await asyncio.create_task(nothing(0))
        middle = [asyncio.create_task(nothing(first)) for _ in range(width)]
        return await asyncio.create_task(join([await task for task in middle]))

    async def diamonds() -> None:
        await asyncio.gather(*(fan(DIAMOND) for _ in range(RUNS)))

    return {"chain": chain, "fan": fan, "diamonds": diamonds}


def langgraph_shapes() -> Shapes:
    from langgraph.graph import END, START, StateGraph
    from typing_extensions import TypedDict

    class Line(TypedDict):
        x: int

    class Wide(TypedDict):
        x: int
        xs: Annotated[list[int], operator.add]

    async def one(state: Any) -> dict[str, int]:
        return {"x": state["x"]}

    async def side(state: Any) -> dict[str, list[int]]:
        return {"xs": [state["x"]]}

    async def last(state: Any) -> dict[str, int]:
        return {"x": len(state["xs"])}

    def chain_graph() -> Any:
        made = StateGraph(Line)
        before = START
        for number in range(CHAIN):
            made.add_node(f"n{number}", one)
            made.add_edge(before, f"n{number}")
            before = f"n{number}"
        made.add_edge(before, END)
        return made.compile()

    def fan_graph(width: int) -> Any:
        made = StateGraph(Wide)
        made.add_node("first", one)
        made.add_node("last", last)
        made.add_edge(START, "first")
        for number in range(width):
            made.add_node(f"n{number}", side)
            made.add_edge("first", f"n{number}")
        made.add_edge([f"n{number}" for number in range(width)], "last")
        made.add_edge("last", END)
        return made.compile()

    line, wide, diamond = chain_graph(), fan_graph(FAN), fan_graph(DIAMOND)
    limit = {"recursion_limit": CHAIN + 50}
    return {
        "chain": lambda: line.ainvoke({"x": 0}, limit),
        "fan": lambda: wide.ainvoke({"x": 0, "xs": []}, limit),
        "diamonds": lambda: asyncio.gather(*(diamond.ainvoke({"x": 0, "xs": []}, limit) for _ in range(RUNS))),
    }


def pydantic_graph_shapes() -> Shapes:
    from pydantic_graph import GraphBuilder, StepContext, reduce_list_append

    async def one(ctx: Any) -> int:
        return int(ctx.inputs)

    async def last(ctx: Any) -> int:
        return len(ctx.inputs)

    # It reads the annotations, which as text could not name what is imported in here.
    one.__annotations__ = {"ctx": StepContext[None, None, int], "return": int}
    last.__annotations__ = {"ctx": StepContext[None, None, list[int]], "return": int}

    def chain_graph() -> Any:
        made = GraphBuilder(input_type=int, output_type=int)
        before: Any = made.start_node
        for number in range(CHAIN):
            node = made.step(one, node_id=f"n{number}")
            made.add(made.edge_from(before).to(node))
            before = node
        made.add(made.edge_from(before).to(made.end_node))
        return made.build()

    def fan_graph(width: int) -> Any:
        made = GraphBuilder(input_type=int, output_type=int)
        first, end = made.step(one, node_id="first"), made.step(last, node_id="last")
        middle = [made.step(one, node_id=f"n{number}") for number in range(width)]
        collected = made.join(reduce_list_append, initial_factory=list)
        made.add(made.edge_from(made.start_node).to(first), made.edge_from(first).to(*middle))
        made.add(made.edge_from(*middle).to(collected), made.edge_from(collected).to(end))
        made.add(made.edge_from(end).to(made.end_node))
        return made.build()

    line, wide, diamond = chain_graph(), fan_graph(FAN), fan_graph(DIAMOND)
    return {
        "chain": lambda: line.run(inputs=0),
        "fan": lambda: wide.run(inputs=0),
        "diamonds": lambda: asyncio.gather(*(diamond.run(inputs=0) for _ in range(RUNS))),
    }


def hamilton_shapes() -> Shapes:
    from hamilton import async_driver

    def module(name: str, lines: list[str]) -> types.ModuleType:
        made = types.ModuleType(name)
        sys.modules[name] = made
        exec("\n".join(lines), made.__dict__)
        return made

    def function(name: str, reads: list[str], body: str) -> str:
        return f"async def {name}({', '.join(f'{r}: int' for r in reads)}) -> int:\n    return {body}"

    def fan_module(width: int) -> types.ModuleType:
        middle = [f"n{number}" for number in range(width)]
        lines = [function("first", ["x"], "x"), *(function(name, ["first"], "first") for name in middle)]
        return module(f"fan_{width}", [*lines, function("last", middle, str(width))])

    names = ["x", *(f"n{number}" for number in range(CHAIN))]
    line = module("line", [function(name, [before], before) for before, name in zip(names, names[1:], strict=False)])
    drivers: dict[str, Any] = {}

    async def execute(made: types.ModuleType, wanted: str) -> Any:
        driver = drivers.get(made.__name__)
        if driver is None:
            driver = drivers[made.__name__] = await async_driver.Builder().with_modules(made).build()
        return await driver.execute([wanted], inputs={"x": 0})

    wide, diamond = fan_module(FAN), fan_module(DIAMOND)

    async def diamonds() -> None:
        await asyncio.gather(*(execute(diamond, "last") for _ in range(RUNS)))

    return {"chain": lambda: execute(line, names[-1]), "fan": lambda: execute(wide, "last"), "diamonds": diamonds}


MAKERS = {"langgraph": langgraph_shapes, "pydantic-graph": pydantic_graph_shapes, "hamilton": hamilton_shapes}


class Peers:
    """The other interpreter. `missing`: by name, why a peer was not measured."""

    def __init__(self, python: str) -> None:
        self.child = subprocess.Popen([python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.missing: dict[str, str] = json.loads(self._line())

    def _line(self) -> str:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"the peers' interpreter ended with code {self.child.wait()}")
        return line

    def turn(self) -> Iterator[tuple[str, str, float]]:
        """(peer, shape, microseconds a step) of one turn."""
        assert self.child.stdin is not None
        self.child.stdin.write("turn\n")
        self.child.stdin.flush()
        for name, shape, microseconds in json.loads(self._line()):
            yield name, shape, microseconds

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *error: object) -> None:
        self.child.communicate()


async def _measure(work: Any, shape: str) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) / steps_of(shape) * 1e6


def serve() -> None:
    """Answer each line of standard input with one turn of all peers that are here."""
    ready: dict[str, Shapes] = {}
    missing: dict[str, str] = {}
    for name, make in MAKERS.items():
        try:
            ready[name] = make()
            for shape, work in ready[name].items():
                asyncio.run(_measure(work, shape))
        except Exception as error:  # whatever a peer of another version says, the others are still measured
            missing[name] = f"{type(error).__name__}: {error}"[:300]
            ready.pop(name, None)
    print(json.dumps(missing), flush=True)
    for _ in sys.stdin:
        turn = [(n, s, asyncio.run(_measure(w, s))) for n, shapes in ready.items() for s, w in shapes.items()]
        print(json.dumps(turn), flush=True)


if __name__ == "__main__":
    serve()
