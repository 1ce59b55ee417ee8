"""``agentfleet run``: rows, summary, JSON lines, exit codes, and inputs that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

from cli.project import Command, write_rows

from agentfleet.cli.find import stock_example


def test_rows_show_tier_and_outcome_and_the_end_sums_up(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now"}, {"mail": "some day"})
    done = command("run", "triage", "--inputs", "in.jsonl")
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[1].split()[:2] == ["1", "done"]
    assert lines[1].endswith("urgency code · ring code")
    assert lines[2].split()[:2] == ["2", "waiting"]
    assert lines[2].endswith("urgency waiting")
    assert lines[3] == "accepted 1; waiting 1 (person 1); failed 0; rings 1"
    assert lines[4] == "cost $0"
    assert "agentfleet answer" in done.out
    assert "--frontier" not in done.out  # only a person may answer that


SUMS_UP = '''\
from agentfleet import ask, graph, summarise


@summarise(tier="small", up_to="UP_TO")
def gist(mail: str) -> str:
    """One sentence."""
    if "now" in mail:
        return mail
    return ask(mail)


@graph
def sums_up(mail: str) -> str:
    return gist(mail)
'''


def test_the_weak_model_introduces_itself_where_it_may_be_asked(project: Path, command: Command) -> None:
    (project / "graphs" / "sums_up.py").write_text(SUMS_UP.replace("UP_TO", "small"))
    done = command("run", "sums_up", "-i", "mail=now")
    assert "SmolLM2-135M" in done.out.splitlines()[0]
    assert "deliberately weak" in done.out.splitlines()[0]
    assert "SmolLM2" in command("run", "sums_up", "-i", "mail=now", "--json").err
    assert "SmolLM2" not in command("run", "triage", "-i", "mail=now").out


def test_a_model_is_offered_where_one_may_answer(project: Path, command: Command) -> None:
    (project / "agentfleet.toml").write_text("embedded = false\n")
    (project / "graphs" / "sums_up.py").write_text(SUMS_UP.replace("UP_TO", "person"))
    done = command("run", "sums_up", "-i", "mail=later")
    assert "gist waits (person)" in done.out
    assert "agentfleet resume --frontier anthropic:MODEL" in done.out


def test_gold_beside_the_inputs_is_compared(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now a"}, {"mail": "now b"}, {"mail": "some day"})
    write_rows(
        project / "in.gold.jsonl",
        {"kind": "today", "text": "NOW A"},
        {"kind": "never", "text": "later"},
        {"kind": "never", "text": "later"},
    )
    done = command("run", "triage", "--inputs", "in.jsonl")
    assert "accepted 2 (right 1, wrong 1); waiting 1 (person 1); failed 0; rings 2 (wrong: 1)" in done.out


def test_a_gold_file_that_is_no_json_names_its_line(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now"})
    write_rows(project / "in.gold.jsonl", "{}", "[1")
    done = command("run", "triage", "--inputs", "in.jsonl")
    assert done.code == 2
    assert "in.gold.jsonl:2: not a JSON object" in done.err


def test_json_lines_carry_the_steps(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now"}, {"mail": "some day"})
    done = command("run", "triage", "--inputs", "in.jsonl", "--json")
    first, second = done.rows
    assert {"run_id", "status", "value", "cost", "steps"} <= set(first)
    assert (first["status"], first["value"], first["cost"], first["line"]) == ("done", "NOW", 0, 1)
    assert list(first["steps"]) == ["urgency", "ring"]
    assert {"value", "tier", "model", "outcome", "attempts"} <= set(first["steps"]["ring"])
    assert second["status"] == "waiting"
    assert second["waiting"][0]["path"] == "urgency"


BAD = {
    "not json": ("{", "in.jsonl:2: not valid JSON"),
    "no object": ("[1]", 'in.jsonl:2: a row is an object: {"mail": ...}'),
    "missing": ("{}", "in.jsonl:2: triage needs 'mail'"),
    "misspelt": ('{"mial": "x"}', "in.jsonl:2: triage has no input 'mial'; did you mean 'mail'?"),
    "wrong type": ('{"mail": 3}', "in.jsonl:2: triage: mail: Input should be a valid string"),
}


def test_a_bad_row_is_named_and_the_others_still_run(project: Path, command: Command) -> None:
    for line, message in BAD.values():
        write_rows(project / "in.jsonl", {"mail": "now"}, line, {"mail": "now too"})
        done = command("run", "triage", "--inputs", "in.jsonl")
        assert done.code == 1
        assert message in done.err
        assert "accepted 2; waiting 0; failed 1 (1 of them not fitting the inputs); rings 2" in done.out
        as_json = command("run", "triage", "--inputs", "in.jsonl", "--json")
        assert [row["status"] for row in as_json.rows] == ["done", "failed", "done"]
        assert message in as_json.rows[1]["error"]


def test_a_step_that_raises_fails_its_run_and_shows_the_users_line(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now boom"}, {"mail": "now"})
    done = command("run", "triage", "--inputs", "in.jsonl", "--json")
    assert done.code == 1
    assert done.rows[0]["error"] == f"ring ({project}/graphs/triage.py:19) raised ValueError: the bell broke"
    assert done.rows[1]["status"] == "done"


def test_one_input_prints_its_whole_value(command: Command) -> None:
    long = "now " + "x" * 100
    done = command("run", "triage", "--input", f"mail={long}")
    assert done.code == 0
    assert long.upper() in done.out.splitlines()


def test_one_input_that_does_not_fit_is_a_usage_error(command: Command) -> None:
    assert command("run", "triage").code == 2
    wrong = command("run", "triage", "-i", "mial=x")
    assert wrong.code == 2
    assert "did you mean 'mail'?" in wrong.err
    assert "write name=value" in command("run", "triage", "-i", "mail").err
    assert "not both" in command("run", "triage", "-i", "mail=x", "--inputs", "in.jsonl").err


def test_a_file_that_is_not_there_or_not_text(project: Path, command: Command) -> None:
    assert "no such file: gone.jsonl" in command("run", "triage", "--inputs", "gone.jsonl").err
    (project / "in.jsonl").write_bytes(b"\xff\xfe")
    done = command("run", "triage", "--inputs", "in.jsonl")
    assert done.code == 2
    assert "cannot read in.jsonl" in done.err


def test_limit_takes_the_first_rows(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", *({"mail": f"now {n}"} for n in range(5)))
    done = command("run", "triage", "--inputs", "in.jsonl", "--limit", "2", "--json")
    assert [row["value"] for row in done.rows] == ["NOW 0", "NOW 1"]


def test_rows_come_out_in_their_order_though_they_end_in_another(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", *({"mail": f"now {n}"} for n in range(30)))
    done = command("run", "triage", "--inputs", "in.jsonl", "--at-once", "8", "--json")
    assert [row["line"] for row in done.rows] == list(range(1, 31))


def test_text_from_outside_cannot_steer_the_terminal(project: Path, command: Command) -> None:
    write_rows(project / "in.jsonl", {"mail": "now \x1b[31m[red]x\nnext"})
    out = command("run", "triage", "--inputs", "in.jsonl").out
    assert "\x1b" not in out
    assert "[RED]X" in out


def test_the_sample_inbox_of_the_package_is_found_from_anywhere(project: Path, command: Command) -> None:
    (project / "examples" / "inbox.jsonl").unlink()
    sample = stock_example("inbox.jsonl")
    assert sample is not None
    done = command("run", "support_desk", "--inputs", "examples/inbox.jsonl", "--limit", "1", "--json")
    assert done.rows[0]["value"] == json.loads(sample.read_text().splitlines()[0])["email"][:20]
