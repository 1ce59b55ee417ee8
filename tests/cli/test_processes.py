"""The command line as a process: Ctrl-C drains, a reader that goes away harms nothing, colours can be switched off."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from cli.project import MOST, ended, start, until, write_rows

from agentfleet.cli.find import stock_names

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


def stopping(process: subprocess.Popen[bytes]) -> str:
    """Press Ctrl-C, and wait until the process says that it knows; returns what it said up to then."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = ""
    while "stopping" not in said:
        line = process.stderr.readline().decode()
        assert line, said
        said += line
    return said


@pytest.fixture
def slow(project: Path) -> Path:
    """The project with a graph whose second step lasts until the file ``go`` is there."""
    (project / "graphs" / "slow.py").write_text(SLOW)
    return project


def test_ctrl_c_drains_says_how_to_go_on_and_resume_repeats_nothing(slow: Path) -> None:
    write_rows(slow / "in.jsonl", *({"n": n} for n in range(6)))
    process = start(slow, "run", "slow", "--inputs", "in.jsonl", "--at-once", "2", "--json")
    until(slow / "begun.0")
    until(slow / "begun.1")
    assert "stopping: what is in flight ends first" in stopping(process)
    (slow / "go").touch()
    done = ended(process)
    assert done.code == 130
    assert "To go on with it: agentfleet resume" in done.err
    assert "not begun: 4 rows, from line 3 on" in done.err
    assert "Traceback" not in done.err
    assert [row["status"] for row in done.rows] == ["paused", "paused"]

    again = ended(start(slow, "resume", "--json"))
    assert again.code == 0
    assert sorted(row["value"] for row in again.rows) == [100, 101]
    assert sorted((slow / "calls.log").read_text().split()) == ["0", "1"]


def test_ctrl_c_in_resume_leaves_runs_that_can_be_resumed(slow: Path) -> None:
    first = start(slow, "run", "slow", "-i", "n=1")
    until(slow / "begun.1")
    first.kill()
    ended(first)
    (slow / "begun.1").unlink()
    second = start(slow, "resume", "--json")
    until(slow / "begun.1")
    stopping(second)
    (slow / "go").touch()
    assert ended(second).code == 130
    assert [row["value"] for row in ended(start(slow, "resume", "--json")).rows] == [101]
    assert (slow / "calls.log").read_text().split() == ["1"]


def test_a_second_ctrl_c_ends_at_once(slow: Path) -> None:
    process = start(slow, "run", "slow", "-i", "n=1")
    until(slow / "begun.1")
    stopping(process)
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130


def test_a_run_that_another_process_works_on_is_left_alone(slow: Path) -> None:
    first = start(slow, "run", "slow", "-i", "n=1", "--json")
    until(slow / "begun.1")
    (row,) = ended(start(slow, "runs", "--json")).rows
    unnamed, named = ended(start(slow, "resume")), ended(start(slow, "resume", row["run_id"]))
    assert (unnamed.code, named.code) == (0, 2)
    assert unnamed.err.startswith(f"left alone: run {row['run_id']} belongs to ")
    assert named.err.startswith(f"error: run {row['run_id']} belongs to ")
    assert f"/{first.pid}/" in named.err
    assert unnamed.out == named.out == ""
    (slow / "go").touch()
    assert [row["value"] for row in ended(first).rows] == [101]
    assert (slow / "calls.log").read_text().split() == ["1"]


def test_two_processes_on_one_ledger_lose_nothing(project: Path) -> None:
    write_rows(project / "in.jsonl", *({"mail": f"now {n}"} for n in range(40)))
    both = [start(project, "run", "triage", "--inputs", "in.jsonl", "--json") for _ in range(2)]
    done = [ended(process) for process in both]
    assert [one.code for one in done] == [0, 0]
    wanted = [f"NOW {n}" for n in range(40)]
    assert [[row["value"] for row in one.rows] for one in done] == [wanted, wanted]
    listed = ended(start(project, "runs", "--limit", "100", "--json")).rows
    assert {row["run_id"] for row in listed} == {row["run_id"] for one in done for row in one.rows}
    assert {row["status"] for row in listed} == {"done"}


@pytest.mark.parametrize(
    "arguments",
    [("runs",), ("runs", "--json"), ("run", "--help"), ("draw", "triage"), ("models", "ls")],
    ids=lambda words: " ".join(words),
)
def test_a_reader_that_has_gone_is_no_error(arguments: tuple[str, ...], project: Path) -> None:
    process = start(project, *arguments)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(MOST) == (0 if arguments == ("runs", "--json") else 141)  # that one has nothing to say
    assert said == b""
    process.stderr.close()


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["rows", "json"])
def test_a_reader_that_goes_away_ends_a_batch_and_harms_nothing(as_json: tuple[str, ...], project: Path) -> None:
    write_rows(project / "in.jsonl", *({"mail": f"now {'x' * 2000} {n}"} for n in range(300)))
    process = start(project, "run", "triage", "--inputs", "in.jsonl", "--at-once", "4", *as_json)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(MOST) == 141
    assert b"Traceback" not in said and b"error" not in said
    process.stderr.close()
    assert ended(start(project, "resume")).code == 0
    assert {row["status"] for row in ended(start(project, "runs", "--limit", "400", "--json")).rows} == {"done"}


def test_no_color_switches_colours_off(project: Path) -> None:
    coloured = ended(start(project, "run", "triage", "-i", "mail=now", FORCE_COLOR="1"))
    plain = ended(start(project, "run", "triage", "-i", "mail=now", FORCE_COLOR="1", NO_COLOR="1"))
    assert "\x1b[32m" in coloured.out
    assert "\x1b[32m" not in plain.out


def test_letters_that_the_terminal_cannot_show_do_not_stop_a_run(project: Path) -> None:
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = ended(start(project, "run", "triage", "-i", "mail=now ĉu", **ascii_only))
    assert done.code == 0
    assert "NOW \\u0108U" in done.out


def test_a_closed_output_does_not_stop_a_run(project: Path) -> None:
    shell = ("sh", "-c", 'exec "$@" >&-', "sh")
    assert ended(start(project, "run", "triage", "-i", "mail=now", command=shell)).code == 0
    assert [row["status"] for row in ended(start(project, "runs", "--json")).rows] == ["done"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_the_output_is_told(project: Path) -> None:
    shell = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
    done = ended(start(project, "run", "triage", "-i", "mail=now", command=shell))
    assert done.code == 2
    assert "error: the output: No space left on device" in done.err


@pytest.mark.parametrize("graph", stock_names())
def test_each_stock_graph_begins_a_project_that_stands_by_itself(graph: str, tmp_path: Path) -> None:
    assert ended(start(tmp_path, "init", "mine", "--graph", graph)).code == 0
    folder = tmp_path / "mine"
    assert ended(start(folder, "check", graph)).out == f"{graph}: ok\n"
    assert ended(start(folder, "draw", graph)).out.startswith("flowchart TD\n")
    assert not [path for path in folder.rglob("*.py") if "agentfleet.stock" in path.read_text()]
