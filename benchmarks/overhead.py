"""Microseconds that a framework adds to one async step that does nothing, per shape of graph.

Ours run through the public API, once on the ledger in memory and once on a ledger file with fsync. Raw asyncio runs
always; ``--peers PYTHON`` adds what is installed in another interpreter. All take turns within one run.

    python benchmarks/overhead.py [--quick] [--peers PATH_TO_PYTHON] [--folder WHERE_THE_LEDGER_LIES]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from peers import Peers, asyncio_shapes  # noqa: E402 -- beside this file
from shapes import CHAIN, DIAMOND, FAN, RUNS, Shapes, steps_of  # noqa: E402

from agentfleet import Fleet, Graph, Session, graph, step  # noqa: E402
from agentfleet.ledger.open import open_ledger  # noqa: E402

Measured = dict[str, list[float]]


@step
async def nothing(x: int) -> int:
    return x


@step
async def join(xs: list[int]) -> int:
    return len(xs)


def chain_of(length: int) -> Graph[[int], int]:
    @graph
    def chain(x: int) -> int:
        for number in range(length):
            x = nothing.using(name=f"n{number}")(x)
        return x

    return chain


def fan_of(width: int) -> Graph[[int], int]:
    @graph
    def fan(x: int) -> int:
        first = nothing.using(name="first")(x)
        return join([nothing.using(name=f"n{number}")(first) for number in range(width)])

    return fan


class Ours:
    """The shapes on one session: its ledger is what the two measurements differ in."""

    def __init__(self, ledger: str) -> None:
        self.session = Session(fleet=Fleet([]), ledger=open_ledger(ledger, Path.cwd()), root=Path.cwd())
        self.graphs = {"chain": chain_of(CHAIN), "fan": fan_of(FAN), "diamonds": fan_of(DIAMOND)}

    async def once(self, made: Graph[[int], int]) -> None:
        run = await self.session.arun(made, {"x": 0})
        assert run.status == "done", run.error

    async def many(self, made: Graph[[int], int]) -> None:
        await asyncio.gather(*(self.once(made) for _ in range(RUNS)))

    def shapes(self) -> Shapes:
        return {
            "chain": lambda: self.once(self.graphs["chain"]),
            "fan": lambda: self.once(self.graphs["fan"]),
            "diamonds": lambda: self.many(self.graphs["diamonds"]),
        }


def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of one run in an event loop of its own, which is made before the clock starts."""

    async def whole() -> float:
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    return asyncio.run(whole())


def measure(engines: dict[str, Shapes], peers: Peers | None, repeats: int) -> Measured:
    """Microseconds a step by ``engine shape``. The engines take turns; the first turn warms up and is not counted."""
    found: Measured = {}
    for turn in range(repeats + 1):
        for name, shapes in engines.items():
            for shape, work in shapes.items():
                found.setdefault(f"{name} {shape}", []).append(timed(work) / steps_of(shape) * 1e6)
        for name, shape, microseconds in peers.turn() if peers else ():
            found.setdefault(f"{name} {shape}", []).append(microseconds)
        if turn == 0:
            found.clear()
    return found


def growth(ledger: str, lengths: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Microseconds a step of chains of several lengths: the same when overhead does not grow with the graph."""
    ours = Ours(ledger)
    graphs = {length: chain_of(length) for length in lengths}
    found: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(repeats + 1):
        for length, made in graphs.items():
            found[length].append(timed(lambda made=made: ours.once(made)) / length * 1e6)  # type: ignore[misc]
    ours.session.close()
    return {str(length): round(statistics.median(taken[1:]), 1) for length, taken in found.items()}


def fsync_us(folder: Path, times: int = 50) -> float:
    """What one small write with fsync costs here: the floor under every durable run."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def medians(found: Measured, name: str) -> dict[str, float]:
    """``chain_us``, ``fan_us``, ``diamonds_us`` of one engine; only the shapes that it could run."""
    kept = {key.split(" ")[1]: taken for key, taken in found.items() if key.split(" ")[0] == name}
    return {f"{shape}_us": round(statistics.median(taken), 1) for shape, taken in kept.items()}


def table(result: dict[str, Any]) -> None:
    print(f"{'µs a step':<28}{f'chain {CHAIN}':>12}{f'1→{FAN}→1':>12}{f'{RUNS} diamonds':>16}")
    rows = {"agentfleet, ledger in memory": result, **result["peers"]}
    rows["agentfleet, ledger on disk"] = {
        key.removeprefix("ledger_"): v for key, v in result.items() if "ledger_" in key
    }
    for name, row in rows.items():
        cells = [row.get(f"{shape}_us") for shape in ("chain", "fan", "diamonds")]
        print(
            f"{name:<28}" + "".join(f"{'-' if c is None else c:>{w}}" for c, w in zip(cells, (12, 12, 16), strict=True))
        )
    print(f"with the ledger on disk, by length of the chain: {result['ledger_growth_us']}")
    print(f"one write of 4 KiB with fsync in that folder: {result['fsync_us']} µs")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer repeats; under a minute")
    options.add_argument("--peers", metavar="PYTHON", help="an interpreter in which peers are installed")
    options.add_argument("--folder", type=Path, help="where the ledger file is made (default: the system's temporary)")
    given = options.parse_args()
    repeats = 3 if given.quick else 11
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        peers = stack.enter_context(Peers(given.peers)) if given.peers else None
        memory, disk = Ours(":memory:"), Ours(str(folder / "ledger.sqlite"))
        engines = {"memory": memory.shapes(), "disk": disk.shapes(), "asyncio": asyncio_shapes()}
        found = measure(engines, peers, repeats)
        names = {key.split(" ")[0] for key in found} - {"memory", "disk"}
        result: dict[str, Any] = {
            **medians(found, "memory"),
            **{f"ledger_{key}": value for key, value in medians(found, "disk").items()},
            "ledger_growth_us": growth(str(folder / "growth.sqlite"), (10, 100, 1000), repeats),
            "fsync_us": round(fsync_us(folder), 1),
            "repeats": repeats,
            "peers": {name: medians(found, name) for name in sorted(names)},
        }
        if peers is not None and peers.missing:
            result["missing"] = peers.missing
        memory.session.close()
        disk.session.close()
    table(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
