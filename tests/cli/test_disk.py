"""The disk under a project is full, or cannot be written: told, nothing lost, gone on with when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.project import ended, start, write_rows

MANY = """\
from agentfleet import graph, step


@step
def blow(n: int) -> str:
    return "x" * 20_000


@graph
def many(n: int) -> str:
    return blow(n)
"""


@pytest.fixture
def disk(project: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = project / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    able = os.geteuid() == 0 and shutil.which("mount")
    if not able or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root for a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_what_was_begun_goes_on_when_there_is_room(project: Path, disk: Path) -> None:
    (project / "graphs" / "many.py").write_text(MANY)
    write_rows(project / "in.jsonl", *({"n": n} for n in range(60)))
    (disk / "ballast").write_bytes(b"0" * 300_000)
    ledger = {"AGENTFLEET_LEDGER": str(disk / "l.sqlite")}
    done = ended(start(project, "run", "many", "--inputs", "in.jsonl", "--json", **ledger))
    assert done.code == 2
    assert f"error: the ledger {disk}/l.sqlite has no room left. What was committed stands" in done.err
    assert "Traceback" not in done.err
    committed = {row["run_id"] for row in done.rows if row["status"] == "done"}
    assert 0 < len(committed) < 60

    (disk / "ballast").unlink()
    assert ended(start(project, "resume", **ledger)).code == 0
    kept = ended(start(project, "runs", "--limit", "100", "--json", **ledger)).rows
    assert {row["status"] for row in kept} == {"done"}
    assert committed <= {row["run_id"] for row in kept}


def test_what_is_recorded_can_be_read_where_nothing_can_be_written(project: Path, disk: Path) -> None:
    (disk / "agentfleet.toml").touch()
    shutil.copytree(project / "graphs", disk / "graphs")
    (row,) = ended(start(disk, "run", "triage", "-i", "mail=later", "--json")).rows
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert [one["run_id"] for one in ended(start(disk, "runs", "--json")).rows] == [row["run_id"]]
    assert "waits: urgency (person)" in ended(start(disk, "show", row["run_id"])).out


def test_a_folder_that_cannot_be_written_is_told(project: Path, disk: Path) -> None:
    (disk / "agentfleet.toml").touch()
    shutil.copytree(project / "graphs", disk / "graphs")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    wrong = {
        ("run", "triage", "-i", "mail=now"): "cannot make the ledger ",
        ("draw", "triage", "--svg", "t.svg"): "cannot write t.svg: Read-only file system",
        ("init", "new"): "cannot write new: Read-only file system",
    }
    for words, told in wrong.items():
        done = ended(start(disk, *words))
        assert done.code == 2
        assert told in done.err
    assert "set AGENTFLEET_LEDGER" in ended(start(disk, "run", "triage", "-i", "mail=now")).err
    nothing_kept = ended(start(disk, "run", "triage", "-i", "mail=now", AGENTFLEET_LEDGER=":memory:"))
    assert nothing_kept.code == 0
