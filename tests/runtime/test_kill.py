"""100 times ``kill -9`` at random moments: no committed call is repeated, no effect lacks its *started* row."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agentfleet.ledger.open import open_ledger
from agentfleet.ledger.records import Record

CHILD = Path(__file__).with_name("kill_child.py")
KILLS = 100


def start(folder: Path, key: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, str(CHILD), str(folder), key], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline().strip() == "ready"
    return child


def lines(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def record(folder: Path, key: str) -> Record | None:
    ledger = open_ledger(folder / "ledger.sqlite", folder)
    try:
        found = [run for run in ledger.runs(limit=10_000) if run.key == key]
        return ledger.read(found[0].id) if found else None
    finally:
        ledger.close()


def committed(found: Record | None) -> set[str]:
    """The log lines of everything that this ledger holds as finished."""
    if found is None:
        return set()
    calls = {f"call {a.path} {a.number}" for a in found.attempts}
    return calls | {f"effect {n.path} 1" for n in found.nodes if n.state == "done"}


@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    rng = random.Random(7)
    kills = finished = repeated_in_flight = 0
    number = 0
    while kills < KILLS:
        key, safe = f"run{number}", set[str]()
        number += 1
        before = len(lines(tmp_path))
        while True:
            child = start(tmp_path, key)
            time.sleep(rng.random() * 0.11)
            alive = child.poll() is None
            if kills < KILLS and alive:
                child.send_signal(signal.SIGKILL)
            output = child.communicate()[0]
            fresh = lines(tmp_path)[before:]
            before += len(fresh)
            assert not safe.intersection(fresh), f"a committed call was repeated: {safe.intersection(fresh)}"
            found = record(tmp_path, key)
            begun = {n.path for n in found.nodes} if found else set()
            for line in fresh:
                if line.startswith("effect"):
                    assert line.split()[1] in begun, f"{line}: an effect began without a started row"
            safe |= committed(found)
            if child.returncode == -signal.SIGKILL:
                kills += 1
                continue
            assert child.returncode == 0 and "done x|SUMMARY OF C" in output, output
            finished += 1
            break
        mine = Counter(line for line in lines(tmp_path)[-before:] if line)
        assert mine
    calls = Counter(lines(tmp_path))
    per_run = 6
    repeated_in_flight = sum(calls.values()) - finished * per_run
    print(
        f"kills {kills}, runs finished {finished}, in-flight calls repeated {repeated_in_flight}, committed repeated 0"
    )
    assert finished >= 1 and 0 <= repeated_in_flight <= 2 * kills
