"""What waits: shown, answered, resumed; by another process, which only the ledger connects with the first."""

from __future__ import annotations

from pathlib import Path

from cli.project import Command


def waiting_run(command: Command) -> str:
    (row,) = command("run", "triage", "-i", "mail=some day", "--json").rows
    assert row["status"] == "waiting"
    return str(row["run_id"])


def test_show_names_the_question_and_how_to_answer(command: Command) -> None:
    run = waiting_run(command)
    shown = command("show", run[:10])
    assert shown.code == 0
    assert "waits: urgency (person)" in shown.out
    assert "When must somebody answer this?" in shown.out
    assert "some day" in shown.out
    assert f"agentfleet answer {run} urgency today --resume" in shown.out
    assert "ring step (only if needed) ← mail" in shown.out
    assert command("show", run, "--json").rows[0]["inputs"] == {"mail": "some day"}


def test_an_answer_is_recorded_and_resume_goes_on(command: Command) -> None:
    run = waiting_run(command)
    told = command("answer", run, "urgency", "today")
    assert f"To go on: agentfleet resume {run}" in told.out
    done = command("resume", run, "--json")
    assert done.rows[0]["value"] == "SOME DAY"
    assert done.rows[0]["steps"]["urgency"]["tier"] == "person"
    assert command("resume").out == "nothing waits\n"


def test_answer_and_resume_in_one_command(command: Command) -> None:
    run = waiting_run(command)
    assert "later" in command("answer", run, "urgency", '"never"', "--resume").out.splitlines()
    other = waiting_run(command)
    assert command("answer", other, "urgency", "never", "--resume", "--json").rows[0]["value"] == "later"


def test_an_answer_that_does_not_fit_changes_nothing(command: Command) -> None:
    run = waiting_run(command)
    wrong = command("answer", run, "urgency", "tomorrow")
    assert wrong.code == 2
    assert "tomorrow" in wrong.err
    assert "never" in wrong.err
    nowhere = command("answer", run, "ring", "x")
    assert nowhere.code == 2
    assert "waiting: urgency" in nowhere.err
    assert command("show", run, "--json").rows[0]["status"] == "waiting"
    assert command("answer", "zzzz", "urgency", "never").code == 2


def test_resume_without_names_takes_all_that_waits(command: Command) -> None:
    first, second = waiting_run(command), waiting_run(command)
    command("answer", first, "urgency", "never")
    done = command("resume")
    assert done.code == 0
    assert "done 1; waiting 1 (person 1); failed 0; cost $0" in done.out
    assert second in done.out


def test_rerun_forgets_one_step(command: Command) -> None:
    run = waiting_run(command)
    command("answer", run, "urgency", "never", "--resume")
    again = command("resume", run, "--rerun", "urgency", "--json")
    assert again.rows[0]["status"] == "waiting"
    assert "exactly one run" in command("resume", "--rerun", "urgency").err


def test_runs_lists_and_filters(command: Command) -> None:
    run = waiting_run(command)
    command("run", "triage", "-i", "mail=now")
    assert [row["status"] for row in command("runs", "--json").rows] == ["done", "waiting"]
    assert [row["run_id"] for row in command("runs", "--status", "waiting", "--json").rows] == [run]
    assert command("runs", "--graph", "other", "--json").rows == []
    assert run in command("runs").out
    assert "did you mean 'waiting'?" in command("runs", "--status", "wating").err


def test_an_unknown_run_is_a_usage_error(command: Command) -> None:
    for arguments in (("show", "zzzz"), ("resume", "zzzz")):
        done = command(*arguments)
        assert done.code == 2
        assert "zzzz" in done.err


def test_looking_makes_nothing_and_needs_no_fleet(project: Path, command: Command) -> None:
    assert command("runs").out == "no runs yet: agentfleet run NAME\n"
    assert command("show", "zzzz").code == 2
    assert not (project / ".agentfleet").exists()
    run = waiting_run(command)
    (project / "agentfleet.toml").write_text("tires = 1\n")
    assert command("runs", "--json").rows[0]["run_id"] == run
    assert command("show", run).code == 0
    assert command("resume").code == 2
