"""The newcomer's run: ``agentfleet run support_desk`` on an inbox, as a process of its own in an empty project.

Nothing is trained or cached beforehand. `right`: an accepted mail whose kind and refund both equal the gold row's.

    python benchmarks/first_run.py [--quick] [--inbox FILE.jsonl --gold FILE.gold.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
QUICK = 16
"""Rows of the quick form."""


def run(inbox: Path, limit: int | None) -> tuple[list[tuple[float, dict[str, Any]]], float]:
    """Each row with the second at which it stood, and the seconds of the whole."""
    command = [sys.executable, "-m", "agentfleet.cli.main", "run", "support_desk", "--inputs", str(inbox), "--json"]
    command += [] if limit is None else ["--limit", str(limit)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {key: value for key, value in os.environ.items() if not key.startswith("AGENTFLEET_")} | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        (Path(folder) / "agentfleet.toml").touch()
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            assert child.stdout is not None
            rows = [(time.perf_counter() - began, json.loads(line)) for line in child.stdout]
        taken = time.perf_counter() - began
        errors.seek(0)
        if child.returncode not in (0, 1):  # 1: some mails failed, which the counts say
            raise SystemExit(f"the run ended with code {child.returncode} after {len(rows)} rows:\n{errors.read()}")
        return rows, taken


def refunds(row: Mapping[str, Any]) -> list[float]:
    """Every refund that was carried out, also in a mail that was not accepted in the end."""
    values = [step["value"] for path, step in row["steps"].items() if path.startswith("resolve.carry_out/")]
    return [value["refunded"] for value in values if isinstance(value, dict) and value.get("refunded")]


def is_right(row: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    """Are both the kind and the sum refunded those of the gold row?"""
    same = abs(row["value"]["refunded"] - gold["refunded"]) < 0.005
    return bool(same and row["steps"]["intent"]["value"] == gold["kind"])


def judged(rows: Sequence[Mapping[str, Any]], gold: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The counts, by the gold row of the same line."""
    accepted = [row for row in rows if row["status"] == "done"]
    right = sum(is_right(row, gold[row["line"] - 1]) for row in accepted)
    paid = [(refund, gold[row["line"] - 1]["refunded"]) for row in rows for refund in refunds(row)]
    return {
        "mails": len(rows),
        "accepted": len(accepted),
        "right": right,
        "wrong": len(accepted) - right,
        "waiting": sum(row["status"] in ("waiting", "paused") for row in rows),
        "failed": sum(row["status"] in ("failed", "cancelled") for row in rows),
        "refunds": len(paid),
        "wrong_refunds": sum(abs(refund - owed) >= 0.005 for refund, owed in paid),
    }


def peak_mb() -> float:
    """The greatest resident memory of the process that ran."""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help=f"only the first {QUICK} mails; under a minute")
    options.add_argument("--inbox", type=Path, default=ROOT / "examples" / "inbox.jsonl")
    options.add_argument("--gold", type=Path, help="default: FILE.gold.jsonl beside the inbox")
    given = options.parse_args()
    inbox = given.inbox.resolve()
    gold_file = given.gold or inbox.with_name(inbox.name.removesuffix(".jsonl") + ".gold.jsonl")
    gold = [json.loads(line) for line in gold_file.read_text(encoding="utf-8").split("\n") if line.strip()]
    rows, taken = run(inbox, QUICK if given.quick else None)
    result: dict[str, Any] = judged([row for _, row in rows], gold)
    result |= {"first_row_s": round(rows[0][0], 2), "seconds": round(taken, 1), "peak_mb": round(peak_mb())}
    result |= {"cost": sum(row["cost"] for _, row in rows), "inbox": given.inbox.name}
    for key, value in result.items():
        print(f"{key:>14}  {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
