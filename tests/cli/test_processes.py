"""The command line as a process: Ctrl-C drains, a reader that goes away harms nothing, colours can be switched off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cli.project import write_rows

ROOT = Path(__file__).parents[2]
SLOW = """\
import time
from pathlib import Path

from agentfleet import graph, step


@step(effect=True)
async def call(n: int) -> int:
    with Path("calls.log").open("a") as log:
        log.write(f"{n}\\n")
    return n


@step
def wait(n: int) -> int:
    Path(f"begun.{n}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return n


@step
def last(n: int) -> int:
    return n + 100


@graph
def slow(n: int) -> int:
    return last(wait(call(n)))
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith("AGENTFLEET_")}
    return subprocess.Popen(
        [sys.executable, "-m", "agentfleet.cli.main", *arguments],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Path) -> None:
    end = time.monotonic() + 60
    while not condition.exists():
        assert time.monotonic() < end, f"{condition} never came"
        time.sleep(0.01)


def test_ctrl_c_drains_says_how_to_go_on_and_resume_repeats_nothing(project: Path) -> None:
    (project / "graphs" / "slow.py").write_text(SLOW)
    write_rows(project / "in.jsonl", *({"n": n} for n in range(6)))
    process = start(project, "run", "slow", "--inputs", "in.jsonl", "--at-once", "2", "--json")
    until(project / "begun.0")
    until(project / "begun.1")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    (project / "go").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping: what is in flight ends first" in err
    assert "To go on with it: agentfleet resume" in err
    assert "Traceback" not in err
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["paused", "paused"]

    out, err = start(project, "resume", "--json").communicate(timeout=60)
    assert sorted(json.loads(line)["value"] for line in out.splitlines()) == [100, 101]
    assert sorted((project / "calls.log").read_text().split()) == ["0", "1"]


def test_ctrl_c_in_resume_leaves_runs_that_can_be_resumed(project: Path) -> None:
    (project / "graphs" / "slow.py").write_text(SLOW)
    first = start(project, "run", "slow", "-i", "n=1")
    until(project / "begun.1")
    first.kill()
    first.communicate(timeout=60)
    (project / "begun.1").unlink()
    second = start(project, "resume", "--json")
    until(project / "begun.1")
    second.send_signal(signal.SIGINT)
    time.sleep(0.3)
    (project / "go").touch()
    second.communicate(timeout=60)
    assert second.returncode == 130
    out, _ = start(project, "resume", "--json").communicate(timeout=60)
    assert [json.loads(line)["value"] for line in out.splitlines()] == [101]
    assert (project / "calls.log").read_text().split() == ["1"]


def test_a_second_ctrl_c_ends_at_once(project: Path) -> None:
    (project / "graphs" / "slow.py").write_text(SLOW)
    process = start(project, "run", "slow", "-i", "n=1")
    until(project / "begun.1")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_run_that_another_process_works_on_is_left_alone(project: Path) -> None:
    (project / "graphs" / "slow.py").write_text(SLOW)
    first = start(project, "run", "slow", "-i", "n=1", "--json")
    until(project / "begun.1")
    second = start(project, "resume")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "error:" in err
    (project / "go").touch()
    out, _ = first.communicate(timeout=60)
    assert json.loads(out)["value"] == 101
    assert (project / "calls.log").read_text().split() == ["1"]


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    process = start(project, "models", "ls")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) in (0, 1, 120)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_no_color_switches_colours_off(project: Path) -> None:
    coloured, _ = start(project, "run", "triage", "-i", "mail=now", FORCE_COLOR="1").communicate(timeout=60)
    plain, _ = start(project, "run", "triage", "-i", "mail=now", FORCE_COLOR="1", NO_COLOR="1").communicate(timeout=60)
    assert "\x1b[32m" in coloured
    assert "\x1b[32m" not in plain
