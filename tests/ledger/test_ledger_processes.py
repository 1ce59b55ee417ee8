"""Real processes on one ledger: several that write at once, and one that is killed again and again."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from agentfleet.ledger.sqlite import SQLiteLedger

CHILD = Path(__file__).with_name("ledger_child.py")
KILLS = 20

MAKE = """
import sys, time
from pathlib import Path
from agentfleet.ledger.sqlite import SQLiteLedger
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"here-{time.monotonic_ns()}").touch()
while len(list(folder.glob("here-*"))) < 4:
    time.sleep(0.001)
beat = (max(int(path.name[5:]) for path in folder.glob("here-*")) + 50_000_000) / 1e9
for number in range(rounds):
    while time.monotonic() < beat + number * 0.01:
        pass
    ledger = SQLiteLedger(folder / f"{number}.sqlite")
    ledger.runs()
    ledger.close()
"""
"""Makes ledger after ledger on the beat that all who are here agree on."""


def start(path: Path, log: Path, run: str, owner: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(path), str(log), run, owner, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def noted(log: Path) -> list[str]:
    """Whole lines only: the last may be cut by the kill."""
    return log.read_text().split("\n")[:-1] if log.exists() else []


def check(path: Path, log: Path, run: str) -> None:
    """Whatever the child was told is safe stands in the ledger, once."""
    logged = noted(log)
    if not path.exists():  # killed before it had made the file
        assert not logged
        return
    reader = SQLiteLedger(path, readonly=True)
    record = reader.read(run) if reader.runs() else None
    reader.close()
    assert record is not None or not logged
    if record is not None:
        done = Counter(node.path for node in record.nodes if node.state == "done")
        assert not [name for name in logged if not done[name]], "told that it was safe, and lost"
        assert set(done.values()) <= {1}
        assert Counter(attempt.path for attempt in record.attempts) == done
        assert record.run.cost == len(done)
    assert len(set(logged)) == len(logged), "a committed node was done again"
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    raw.close()


def test_kill_and_kill_again(path: Path, tmp_path: Path) -> None:
    log, chance, kills, attempt = tmp_path / "log", random.Random(7), 0, 0
    while kills < KILLS:
        child = start(path, log, "run", f"owner{attempt}", 100_000)
        before = len(noted(log))
        while child.poll() is None and len(noted(log)) == before and not chance.random() < 0.002:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        child.kill()
        out, problem = child.communicate()
        assert child.returncode == -9, problem or out
        kills, attempt = kills + 1, attempt + 1
        check(path, log, "run")
    assert len(noted(log)) > KILLS
    reader = SQLiteLedger(path, readonly=True)
    assert 1 < reader.read("run").run.epoch <= KILLS
    reader.close()


def test_processes_that_write_at_once(path: Path, tmp_path: Path) -> None:
    children = [start(path, tmp_path / f"log{i}", f"run{i}", f"owner{i}", 400) for i in range(3)]
    for number, child in enumerate(children):
        out, problem = child.communicate()
        assert (child.returncode, out.strip()) == (0, "done"), problem
        assert len(noted(tmp_path / f"log{number}")) == 400
        check(path, tmp_path / f"log{number}", f"run{number}")
    reader = SQLiteLedger(path, readonly=True)
    assert sorted(run.status for run in reader.runs()) == ["done"] * 3
    reader.close()


HOG = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
print("ready", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(0.04)
    connection.execute("COMMIT")
    time.sleep(0.002)
"""


def test_a_writer_beside_a_busy_one_gets_its_turn(path: Path, a_run) -> None:
    """The lock is free for a moment in twenty; asking ten times a second would hardly ever meet it."""
    ledger = SQLiteLedger(path, busy=10)
    hog = subprocess.Popen([sys.executable, "-c", HOG, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert hog.stdout is not None and hog.stdout.readline() == "ready\n"
        for number in range(5):
            ledger.create(a_run(f"run{number}"), "me", 60)
    finally:
        hog.kill()
        hog.communicate()
    assert len(ledger.runs()) == 5
    ledger.close()


def test_a_living_owner_in_another_process_is_respected(
    path: Path, tmp_path: Path, ledger: SQLiteLedger, a_run, node
) -> None:
    run = ledger.create(a_run("run"), "here", 60)
    child = start(path, tmp_path / "log", run.id, "there", 10)
    out, problem = child.communicate()
    assert out.strip() == "busy", problem
    ledger.extend([run.id], "here", -1)
    child = start(path, tmp_path / "log", run.id, "there", 10)
    out, problem = child.communicate()
    assert out.strip() == "done", problem
    assert ledger.read(run.id).run.epoch == 2


def test_processes_that_make_the_same_ledger_at_once(tmp_path: Path) -> None:
    """Each round is a new file that all of them make in the same moment: nobody takes it for a stranger's."""
    command = [sys.executable, "-c", MAKE, str(tmp_path), "60"]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(4)]
    said = [maker.communicate(timeout=120)[0] for maker in makers]
    assert said == [""] * 4
    assert len(list(tmp_path.glob("*.sqlite"))) == 60
