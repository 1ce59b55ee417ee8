"""The banking77 evaluation runs on any folder of its form, says its measures in one JSON line, and skips without data."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
THINGS = ["card", "transfer", "pin", "exchange rate", "top up", "refund"]
SAID = ["where is my {}", "my {} failed", "why is the {} late", "help with a {}", "the {} is wrong", "no {} today"]


def run(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "evals" / "banking77.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=120)
    return done.stdout


def test_last_line(tmp_path: Path) -> None:
    for name, said in (("train.csv", SAID), ("test.csv", ["is my {} late", "a {} is wrong today"])):
        with (tmp_path / name).open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["text", "category"])
            rows.writerows([one.format(thing), thing] for thing in THINGS for one in said)
    found = json.loads(run("--quick", "--data", str(tmp_path)).splitlines()[-1])
    assert found["accuracy"] > 0.9
    assert found["train_cases"] == 36 and found["test_cases"] == 12
    assert {"answered", "accuracy_of_answered", "ece", "brier", "head_ms", "out_of_scope_auroc"} <= found.keys()


def test_without_data_it_says_how_to_get_it(tmp_path: Path) -> None:
    told = run("--data", str(tmp_path))
    assert "github.com/PolyAI-LDN" in told
    assert json.loads(told.splitlines()[-1]) == {"skipped": "banking77 is not here"}
