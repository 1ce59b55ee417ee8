"""The other commands: init, check, draw, models, doctor; and every example that a --help page shows."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest
import typer
from cli.project import Command, write_rows

from agentfleet.cli.main import app


def test_init_makes_a_project_that_imports_nothing_of_the_stock(project: Path, command: Command) -> None:
    done = command("init", "desk")
    assert done.code == 0
    assert "agentfleet run support_desk --inputs examples/inbox.jsonl" in done.out
    files = [path for path in (project / "desk").rglob("*") if path.is_file()]
    assert {"agentfleet.toml", "graphs/support_desk.py", "examples/inbox.jsonl"} <= {
        str(path.relative_to(project / "desk")) for path in files
    }
    assert not [path for path in files if path.suffix == ".py" and "agentfleet.stock" in path.read_text()]


def test_init_overwrites_nothing(project: Path, command: Command) -> None:
    done = command("init", ".")
    assert done.code == 2
    assert "agentfleet.toml is there already; nothing was written" in done.err
    assert (project / "agentfleet.toml").read_text() == ""
    assert "did you mean 'support_desk'?" in command("init", "x", "--graph", "suport_desk").err


def test_check_names_what_does_not_fit(project: Path, command: Command) -> None:
    assert command("check", "triage").out == "triage: ok\n"
    text = (project / "graphs" / "triage.py").read_text()
    (project / "graphs" / "off.py").write_text(
        text.replace('tier="person"', 'tier="smal"').replace("def triage", "def off")
    )
    done = command("check", "off")
    assert done.code == 1
    assert "unknown tier 'smal'; did you mean 'small'" in done.out
    assert f"{project}/graphs/off.py:8" in done.out
    assert command("check", "off", "--json").rows[0]["problems"]["off"]


def test_a_frozen_clock_is_found(project: Path, command: Command) -> None:
    (project / "graphs" / "clock.py").write_text(
        "import time\nfrom agentfleet import graph, step\n@step\ndef a(x: str, at: float) -> str:\n    return x\n"
        "@graph\ndef clock(x: str) -> str:\n    return a(x, time.time())\n"
    )
    assert command("check", "clock").code == 1


def test_draw_gives_mermaid_svg_and_json(project: Path, command: Command) -> None:
    assert "urgency" in command("draw", "triage").out
    assert command("draw", "triage", "--svg", "t.svg").out == "t.svg\n"
    assert (project / "t.svg").read_text().startswith("<svg")
    assert json.loads(command("draw", "triage", "--json").out)
    assert "is a step, not a graph" in command("draw", "graphs/triage.py:ring").err


def test_models_shows_tiers_and_what_is_missing(
    project: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    rows = command("models", "ls", "--frontier", "anthropic:m", "--json").out
    embedded, hosted = json.loads(rows)
    assert (embedded["name"], embedded["tiers"], embedded["location"]) == ("smollm2", ["nano", "small"], "device")
    assert "ANTHROPIC_API_KEY, which is not set" in hosted["state"]
    assert "empty tiers: large, frontier" in command("models", "ls").out


def test_doctor_offers_a_key_and_does_not_show_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    done = command("doctor")
    assert done.code == 0
    assert "not used until a model is named: --frontier openai:MODEL" in done.out
    assert "sk-test" not in done.out
    notes = {row["what"]: row["note"] for row in json.loads(command("doctor", "--json").out)}
    assert {"python", "memory", "fleet", "ledger"} <= set(notes)
    assert "of the known models fit at most: " in notes["memory"]


def test_doctor_names_a_broken_fleet_file(project: Path, command: Command) -> None:
    (project / "agentfleet.toml").write_text("[[models]\n")
    done = command("doctor")
    assert done.code == 1
    assert "agentfleet.toml:1:" in done.out


def test_a_broken_fleet_file_stops_a_run_before_it_begins(project: Path, command: Command) -> None:
    (project / "agentfleet.toml").write_text('tires = ["a"]\n')
    done = command("run", "triage", "-i", "mail=now")
    assert done.code == 2
    assert "agentfleet.toml:1: unknown key 'tires'; did you mean 'tiers'?" in done.err


def test_a_named_model_without_its_key_stops_a_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    done = command("run", "triage", "-i", "mail=now", "--frontier", "anthropic:m")
    assert done.code == 2
    assert "export ANTHROPIC_API_KEY=" in done.err


def test_version(command: Command) -> None:
    assert re.fullmatch(r"agentfleet \d+\.\d+\.\d+\n", command("--version").out)


def examples() -> list[str]:
    """Every line of every help page that shows a command."""
    found: list[str] = []

    def collect(group: object) -> None:
        for child in getattr(group, "commands", {}).values():
            lines = (child.help or "").splitlines()
            found.extend(line.strip() for line in lines if line.strip().startswith("agentfleet "))
            collect(child)

    collect(typer.main.get_command(app))
    return found


def test_every_command_shows_examples() -> None:
    shown = {shlex.split(line)[1] for line in examples()}
    alone = {"answer", "check", "doctor", "draw", "init", "resume", "run", "runs", "show"}
    assert shown == alone | {"fleet", "learn", "models", "route", "serve-model"}


ASKS = '''\
from typing import Literal

from agentfleet import ask, classify, extract, graph


@classify(tier="person")
def approval(text: str) -> Literal["approve", "reject"]:
    """May it be paid?"""
    return ask(text)


@extract(tier="person")
def order(text: str) -> dict[str, str | float]:
    """Which order?"""
    return ask(text)


@graph
def asks(text: str) -> tuple[str, dict[str, str | float]]:
    return approval(text), order(text)
'''


TOPIC = '''\
from typing import Literal

from agentfleet import ask, classify


@classify(tier="nano")
def topic(text: str) -> Literal["warm", "cold"]:
    """Is this warm or cold?"""
    return ask(text)
'''


def write_topic(project: Path) -> None:
    """A skill with examples enough for a head, and a file with more of them."""
    folder = project / "skills" / "topic"
    folder.mkdir(parents=True)
    (folder / "skill.py").write_text(TOPIC)
    dice = random.Random(1)
    rows = []
    for label, ending in (("warm", "fire"), ("cold", "ice")):
        vocabulary = [f"{first}{second}{ending}" for first in "bdfgklmn" for second in "aeiou"]
        rows += [{"inputs": {"text": " ".join(dice.sample(vocabulary, 6))}, "output": label} for _ in range(60)]
    write_rows(folder / "examples.jsonl", *rows[::2])
    write_rows(project / "corrected.jsonl", *rows[1::2])


ELSEWHERE = (
    "models tune ",
    "models pull ",
    "models rm ",
    "models verify Q",
    "models probe ",
    "serve-model ",
    "route explain ",
)
"""They take minutes, or need a hub, a server or the stock graph: test_tune, test_pull, test_route and tests/serve run them."""


@pytest.mark.parametrize("line", [line for line in examples() if not any(part in line for part in ELSEWHERE)])
def test_the_examples_of_the_help_pages_run(
    line: str, project: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-0123456789")
    (project / "graphs" / "asks.py").write_text(ASKS)
    (project / "graphs" / "mine.py").write_text((project / "graphs" / "triage.py").read_text())
    (project / "mails.jsonl").write_text('{"mail": "now"}\n')
    write_topic(project)
    if " init ." in line:
        (project / "agentfleet.toml").unlink()
    if " answer " in line:
        run = command("run", "asks", "-i", "text=x", "--json").rows[0]["run_id"]
    else:
        run = command("run", "support_desk", "-i", "email=x", "--json").rows[0]["run_id"]
    done = command(*(run if word == "01jd" else word for word in shlex.split(line)[1:]))
    assert done.code == 0, done.err
