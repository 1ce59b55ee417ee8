"""Ctrl-C in plain Python, in real processes: what is in flight ends, the run is paused, `resume` repeats nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("interrupt_child.py")
Child = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    begun: list[subprocess.Popen[str]] = []

    def start(how: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILD), str(tmp_path), how]
        begun.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def log(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(folder: Path, line: str, process: subprocess.Popen[str]) -> None:
    while line not in log(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=60)
    return errors


def test_the_first_lets_what_is_in_flight_end(tmp_path: Path, child: Child) -> None:
    process = child("run")
    wait_for(tmp_path, "slow", process)
    process.send_signal(signal.SIGINT)
    (tmp_path / "release").touch()
    errors = ended(process)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors and "to go on with it: agentfleet resume" in errors
    seen = log(tmp_path)
    assert seen[:3] == ["before", "slow", "slow ended"]
    assert seen[3].startswith("interrupted paused run "), "and nothing new was begun"
    assert ended(child("resume")) == ""
    assert log(tmp_path)[4:] == ["after", "value x123"], "what had ended is not repeated"


def test_the_second_stops_at_once_and_leaves_the_run_to_go_on_with(tmp_path: Path, child: Child) -> None:
    process = child("run")
    wait_for(tmp_path, "slow", process)
    process.send_signal(signal.SIGINT)
    while not log(tmp_path)[-1].startswith("interrupted"):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        if process.poll() is not None:
            break
    ended(process)
    seen = log(tmp_path)
    assert "slow ended" not in seen and seen[2].startswith("interrupted paused")
    (tmp_path / "release").touch()
    assert ended(child("resume")) == ""
    assert log(tmp_path)[3:] == ["slow", "slow ended", "after", "value x123"]


def test_a_resume_that_is_interrupted_can_be_resumed(tmp_path: Path, child: Child) -> None:
    for how, before in (("run", 1), ("resume", 2)):
        process = child(how)
        while log(tmp_path).count("slow") < before:
            time.sleep(0.01)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert process.returncode != 0
    (tmp_path / "release").touch()
    assert ended(child("resume")) == ""
    assert log(tmp_path)[-1] == "value x123" and log(tmp_path).count("before") == 1


def test_of_many_runs_those_begun_end_and_no_other_begins(tmp_path: Path, child: Child) -> None:
    process = child("many")
    wait_for(tmp_path, "slow", process)
    process.send_signal(signal.SIGINT)
    (tmp_path / "release").touch()
    ended(process)
    seen = log(tmp_path)
    assert seen[:4] == ["before", "slow", "slow ended", "0 paused"] and seen[4].startswith("interrupted paused")
