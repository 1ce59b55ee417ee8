"""What the evals share: their options, the way they say that data are absent, the report, the model that they ask."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentfleet import Fleet, Model, Session
from agentfleet.ledger.open import open_ledger

if TYPE_CHECKING:
    from agentfleet.backends.llama_cpp import LlamaCpp

EMBEDDED = "smollm2"


def options(doc: str, env: str, quick: str) -> argparse.ArgumentParser:
    """``--data`` (default: the environment variable `env`) and ``--quick``; `quick` says what that does."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get(env)
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, help=f"default: ${env}")
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def absent(what: str, how: str) -> int:
    """Say where public data are found that are not here. The exit code: an eval that could not run is no failure."""
    print(how)
    print(json.dumps({"skipped": f"{what} is not here"}))
    return 0


def finish(report: Mapping[str, Any]) -> int:
    """The report as one JSON object, the last line."""
    print(json.dumps(report, ensure_ascii=False))
    return 0


def small_session() -> Session:
    """The embedded model alone, a ledger in memory."""
    fleet = Fleet([Model(name=EMBEDDED, backend="llama_cpp", model="embedded", tier="small")])
    return Session(fleet=fleet, ledger=open_ledger(":memory:", Path.cwd()), root=Path.cwd())


def embedded() -> LlamaCpp:
    """The engine of the embedded model, without a session around it. `shut` it."""
    from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
    from agentfleet.backends.llama_cpp.cores import physical_cores

    return LlamaCpp(embedded_path(), EMBEDDED, threads=int(os.environ.get("AGENTFLEET_THREADS") or physical_cores()))


def rounded(value: Any, digits: int = 4) -> Any:
    """Numbers of a report with few digits, whatever holds them."""
    if isinstance(value, Mapping):
        return {key: rounded(held, digits) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(held, digits) for held in value]
    return round(value, digits) if isinstance(value, float) else value
