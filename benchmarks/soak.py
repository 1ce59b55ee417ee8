"""A soak of the local engine: thousands of mixed requests, eight at a time, and what they leave in memory.

Decisions, JSON (each time of another schema), plain text; some are cancelled, some too long. Memory is
read when the first fifth is done and at the end.

    python benchmarks/soak.py [--requests 10000] [--quick]

Keys of the last line: requests, answered, refused, cancelled, unexpected (errors that should not be), mb_before,
mb_after, growth_mb, largest_mb, seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pydantic import BaseModel, Field, create_model  # noqa: E402

from agentfleet.backends.backend import Request  # noqa: E402
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path  # noqa: E402
from agentfleet.errors import BackendError  # noqa: E402
from agentfleet.prompt import Block, Prompt  # noqa: E402
from agentfleet.schema import output_of  # noqa: E402

AT_ONCE = 8
WORDS = [
    "kettle",
    "lamp",
    "parcel",
    "refund",
    "order",
    "please",
    "broken",
    "blue",
    "Friday",
    "late",
    "thanks",
    "chair",
    "money",
    "garden",
    "invoice",
]


def memory_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not say how much memory a process has")


def requests(count: int) -> Any:
    """(kind, request), always the same for the same count."""
    chance = random.Random(1)
    closed = output_of(Literal["refund", "delivery", "other"], where="soak", closed=True)
    text = output_of(str, where="soak")
    for number in range(count):
        mail = " ".join(chance.choices(WORDS, k=chance.randrange(3, 25)))
        kind = chance.choices(("decide", "json", "text", "cancel", "long"), (60, 25, 12, 2, 1))[0]
        output = {"decide": closed}.get(kind, text)
        if kind == "json":
            output = output_of(_model(number), where="soak")
        if kind == "long":
            mail = mail * 2000
        prompt = Prompt(f"Answer about this mail, skill {number % 12}.", (Block("mail", mail),))
        yield kind, Request(prompt, output, f"skill{number % 12}", max_tokens=24 if kind == "json" else 6)


def _model(number: int) -> type[BaseModel]:
    short = Annotated[str, Field(max_length=6)]
    return create_model(f"Kind{number}", **{f"field{number}": (short, ...), "flag": (bool, ...)})


async def one(engine: LlamaCpp, kind: str, request: Request, seen: Counter[str]) -> None:
    """Ask, and note how it ended."""
    try:
        if kind == "cancel":
            async with asyncio.timeout(0.005):
                await engine.complete(request)
        else:
            await engine.complete(request)
        seen["answered"] += 1
    except TimeoutError:
        seen["cancelled"] += 1
    except BackendError as error:
        seen["refused" if kind == "long" else "unexpected"] += 1
        if kind != "long":
            print(f"{kind}: {error}", file=sys.stderr)


async def soak(engine: LlamaCpp, count: int) -> dict[str, Any]:
    """Work through all of them, eight at a time."""
    seen: Counter[str] = Counter()
    waiting = iter(requests(count))
    done, marks = 0, []

    async def worker() -> None:
        nonlocal done
        for kind, request in waiting:
            await one(engine, kind, request, seen)
            done += 1
            if done % max(1, count // 20) == 0:
                marks.append(memory_mb())
                print(f"{done:>7} requests  {marks[-1]:>8.1f} MB", flush=True)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    before, after = marks[len(marks) // 5 - 1], marks[-1]
    return {
        "requests": count,
        **{name: seen[name] for name in ("answered", "refused", "cancelled", "unexpected")},
        "mb_before": round(before, 1),
        "mb_after": round(after, 1),
        "growth_mb": round(after - before, 1),
        "largest_mb": round(max(marks), 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--quick", action="store_true", help="300 requests; under a minute")
    given = options.parse_args()
    engine = LlamaCpp(embedded_path(), "smol", context=1024)
    found = asyncio.run(soak(engine, 300 if given.quick else given.requests))
    engine.shut()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
