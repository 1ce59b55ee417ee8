"""How long importing takes, each time in a fresh interpreter, and whether anything heavy comes along.

`ratio` compares with ``from pydantic import BaseModel``, which agentfleet cannot do without. Modules lie in the file
cache and are compiled, as they are at the second start of a program; the interpreter's own start is not counted.

    python benchmarks/import_time.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "llama_cpp", "outlines", "openai", "anthropic", "instructor", "sklearn", "numpy")
STATEMENTS = {
    "pydantic_ms": "from pydantic import BaseModel",
    "import_ms": "import agentfleet",
    "names_ms": "from agentfleet import Plan, Verbatim, ask, classify, extract, graph, plan, step, summarise, when",
    "graph_ms": "import graphs.support_desk",
}
PROGRAM = """
import json, sys, time
began = time.perf_counter()
{statement}
taken = time.perf_counter() - began
print(json.dumps([taken * 1000, [name for name in {heavy!r} if name in sys.modules], "networkx" in sys.modules]))
"""


def once(statement: str, compiled: str) -> tuple[float, list[str], bool]:
    """Milliseconds, the heavy modules that were loaded, and whether networkx was. `compiled`: folder for bytecode."""
    program = PROGRAM.format(statement=statement, heavy=HEAVY)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{statement}: {done.stderr}")
    taken, heavy, networkx = json.loads(done.stdout)
    return taken, heavy, networkx


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer repeats; under a minute")
    repeats = 5 if options.parse_args().quick else 21
    times: dict[str, list[float]] = {key: [] for key in STATEMENTS}
    heavy: set[str] = set()
    networkx: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as compiled:
        for turn in range(repeats + 1):  # the first turn compiles and fills the caches
            for key, statement in STATEMENTS.items():
                taken, loaded, networkx[key] = once(statement, compiled)
                heavy.update(loaded)
                if turn:
                    times[key].append(taken)
    result: dict[str, Any] = {key: round(statistics.median(taken), 1) for key, taken in times.items()}
    result["ratio"] = round(result["import_ms"] / result["pydantic_ms"], 2)
    result |= {"heavy": sorted(heavy), "networkx": networkx["graph_ms"], "repeats": repeats}
    for key, statement in STATEMENTS.items():
        print(f"{result[key]:>8} ms  {statement}")
    print(f"loaded of {', '.join(HEAVY)}: {', '.join(result['heavy']) or 'none'}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
