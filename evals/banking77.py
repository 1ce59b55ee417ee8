"""Heads on banking77: 77 intents of bank customers, 10 003 questions to learn from, 3 080 to be judged on.

    python evals/banking77.py --data FOLDER [--quick]

FOLDER holds train.csv and test.csv. All choices (features, penalty, temperature, threshold) are made by
cross-validation within train.csv; test.csv is read once, at the end. `--quick` learns from 25 questions an intent.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a decision is measured on one core

if TYPE_CHECKING:
    from agentfleet.backends.head.measure import Judged
    from agentfleet.backends.head.trained import Trained

HOW = """banking77 is not here. It is public (PolyAI, CC BY 4.0): put train.csv and test.csv of
https://github.com/PolyAI-LDN/task-specific-datasets (folder banking_data) into a folder and run
  python evals/banking77.py --data FOLDER"""

PROMISE = 0.95
QUICK = 25
"""Questions an intent."""

SURE = 0.8
"""The confidence at which the out-of-scope part asks who would be answered."""

Rows = list[tuple[str, str]]


def main() -> int:
    """Read, learn, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BANKING77"), help="folder; default $BANKING77")
    parser.add_argument("--quick", action="store_true", help=f"learn from {QUICK} questions an intent")
    given = parser.parse_args()
    if given.data is None or not all((given.data / name).is_file() for name in ("train.csv", "test.csv")):
        print(HOW)
        print(json.dumps({"skipped": "banking77 is not here"}))
        return 0
    train = rows_of(given.data / "train.csv")
    report = judge(sample(train, QUICK) if given.quick else train, rows_of(given.data / "test.csv"))
    report |= strangers(sample(train, QUICK), rows_of(given.data / "test.csv"))
    for name, value in report.items():
        print(f"{name:32} {value}")
    print(json.dumps(report))
    return 0


def rows_of(path: Path) -> Rows:
    """(text, intent) of a file."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [(row["text"], row["category"]) for row in csv.DictReader(lines)]


def sample(rows: Rows, count: int) -> Rows:
    """The same `count` of each intent every time."""
    found = defaultdict(list)
    for row in rows:
        found[row[1]].append(row)
    dice = random.Random(77)
    return [row for name in sorted(found) for row in dice.sample(found[name], min(count, len(found[name])))]


def judge(train: Rows, test: Rows) -> dict[str, Any]:
    """Learn from `train`, then say how it does on `test`."""
    from agentfleet.backends.head.fit import train_and_judge

    intents = sorted({intent for _, intent in train})
    began = time.perf_counter()
    head, held_out = train_and_judge(train, intents)
    seconds = time.perf_counter() - began
    floor = held_out.floor_for(PROMISE)
    judged, head_ms = answer(head, test, intents)
    share, kept = judged.at(floor) if floor is not None else (0.0, None)
    ranked = judged.floor_for(PROMISE)
    return {
        "accuracy": round(judged.accuracy, 4),
        "interval": [round(end, 4) for end in judged.interval()],
        "answered": round(share, 4),
        "accuracy_of_answered": None if kept is None else round(kept, 4),
        "floor": None if floor is None else round(floor, 4),
        "answered_had_test_set_the_floor": round(judged.at(ranked)[0], 4) if ranked is not None else 0.0,
        "ece": round(judged.ece(), 4),
        "brier": round(judged.brier(), 4),
        "head_ms": round(head_ms, 4),
        "held_out_accuracy": round(held_out.accuracy, 4),
        "held_out_ece": round(held_out.ece(), 4),
        "vectors": head.vectors,
        "chosen": {name: head.measured[name] for name in ("penalty", "second")},
        "train_seconds": round(seconds, 1),
        "train_cases": len(train),
        "test_cases": len(test),
    }


def answer(head: Trained, test: Rows, intents: list[str]) -> tuple[Judged, float]:
    """What a head says of each case, and the median milliseconds of one decision, its features included."""
    import numpy as np

    from agentfleet.backends.head.measure import Judged

    for text, _ in test[:50]:
        head.distribution(text)
    shares, took = [], []
    for text, _ in test:
        began = time.perf_counter()
        found = head.distribution(text)[0]
        took.append(time.perf_counter() - began)
        shares.append(found)
    labels = np.array([intents.index(intent) if intent in intents else -1 for _, intent in test], np.int64)
    return Judged(np.array(shares), labels), statistics.median(took) * 1000


def strangers(train: Rows, test: Rows) -> dict[str, Any]:
    """Learn without every fifth intent; how many questions of those are refused, against those that it knows?"""
    import numpy as np

    from agentfleet.backends.head.fit import train as fit

    intents = sorted({intent for _, intent in train})
    known = [name for number, name in enumerate(intents) if number % 5]
    head = fit([row for row in train if row[1] in known], known)
    judged, _ = answer(head, test, known)
    strange = judged.labels < 0
    sure = judged.confidence >= SURE
    order = np.argsort(np.argsort(judged.confidence)) + 1
    inside = int((~strange).sum())
    area = (order[~strange].sum() - inside * (inside + 1) / 2) / (inside * int(strange.sum()))
    return {
        "out_of_scope_auroc": round(float(area), 4),
        f"out_of_scope_answered_at_{SURE}": round(float(sure[strange].mean()), 4),
        f"in_scope_answered_at_{SURE}": round(float(sure[~strange].mean()), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
