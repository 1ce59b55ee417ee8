"""`learn head`: what it says is what held-out folds said, and what it stores is what the next run uses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from cli.project import Command

import agentfleet.cli.learn  # noqa: F401  (registers the command)
from agentfleet import ask, classify, extract
from agentfleet.backends.head.measure import Judged
from agentfleet.errors import InputError, SchemaError
from agentfleet.fleet.model import Fleet
from agentfleet.learn.head import confusions, learn_head
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.heads import open_head

Colour = Literal["warm", "cold"]
WARM = ["fire", "sun", "summer", "oven", "desert", "toast"]
COLD = ["ice", "snow", "winter", "fridge", "arctic", "sleet"]
ROWS = [
    ({"text": f"the {a} and the {b}"}, label)
    for label, names in (("warm", WARM), ("cold", COLD))
    for a in names
    for b in names[:4]
]


@classify(tier="nano", min_confidence=0.8, examples=ROWS)
def colour(text: str) -> Colour:
    """Is this warm or cold?"""
    return ask(text)


@classify(tier="nano", examples=ROWS[:1])
def starved(text: str) -> Colour:
    """Is this warm or cold?"""
    return ask(text)


@extract(tier="nano")
def number(text: str) -> int:
    """The number in it."""
    return ask(text)


def test_the_learnt_head_is_the_one_that_runs(tmp_path: Path) -> None:
    data = tmp_path / "more.jsonl"
    rows = [
        {"inputs": {"text": f"{w} zephyr quokka"}, "output": "cold"} for w in ("a", "one", "my", "that", "no", "his")
    ]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    plain = open_head(colour, None).distribution("zephyr quokka")
    report = learn_head(colour, tmp_path / "heads", data)
    assert report.examples == len(ROWS) + len(rows)
    used = open_head(colour, tmp_path / "heads")
    assert used.measured["examples"] == report.examples
    assert used.distribution("zephyr quokka")["cold"] > plain["cold"]
    assert sorted(file.name for file in (tmp_path / "heads").iterdir()) == [
        "colour-learnt.json",
        "colour-learnt.safetensors",
    ]


def test_the_report_adds_up(tmp_path: Path) -> None:
    data = tmp_path / "noise.jsonl"
    names = WARM + COLD
    rows = [
        {"inputs": {"text": f"{a} {b}"}, "output": label}
        for a in names
        for b, label in zip(names, ["warm", "cold"] * 6, strict=True)
    ]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    report = learn_head(colour, tmp_path, data)
    assert report.floor == 0.8 and report.accuracy < 1
    low, high = report.interval
    assert 0 <= low <= report.accuracy <= high <= 1
    errors = sum(pair.times for pair in report.confusions)
    assert errors == round((1 - report.accuracy) * report.examples)
    assert sum(p.answered for p in report.confusions) == round((report.wrong or 0) * report.answered * report.examples)
    assert json.loads(json.dumps(report.to_json()))["skill"] == "colour"


def test_confusions_that_would_be_answered_come_first() -> None:
    shares = np.array([[0.55, 0.45]] * 3 + [[0.05, 0.95]])
    found = confusions(Judged(shares, np.array([1, 1, 1, 0])), ["warm", "cold"], 0.8)
    assert [(pair.was, pair.said, pair.times, pair.answered) for pair in found] == [
        ("warm", "cold", 1, 1),
        ("cold", "warm", 3, 0),
    ]


def test_what_a_head_cannot_learn_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is extract"):
        learn_head(number, tmp_path)
    with pytest.raises(SchemaError, match="two examples or more"):
        learn_head(starved, tmp_path)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"inputs": {"text": "fire"}, "output": "warm"}\n{"inputs": {"text": "ice"}, "output": "green"}\n')
    with pytest.raises(InputError, match="line 2"):
        learn_head(colour, tmp_path, bad)
    bad.write_text("\n")
    with pytest.raises(InputError, match="no row"):
        learn_head(colour, tmp_path, bad)
    assert not list(tmp_path.glob("*learnt*"))


def test_a_skill_of_too_few_examples_learns_from_data(tmp_path: Path) -> None:
    data = tmp_path / "more.jsonl"
    data.write_text("\n".join(json.dumps({"inputs": inputs, "output": label}) for inputs, label in ROWS[1:]))
    assert learn_head(starved, tmp_path / "heads", data).examples == len(ROWS)


SKILL = '''
from typing import Literal
from agentfleet import ask, classify

@classify(tier="nano", min_confidence=0.8)
def colour(text: str) -> Literal["warm", "cold"]:
    """Is this warm or cold?"""
    return ask(text)
'''


def test_the_command(project: Path, command: Command) -> None:
    home = project / "skills" / "colour"
    home.mkdir(parents=True)
    (home / "skill.py").write_text(SKILL)
    (home / "examples.jsonl").write_text("\n".join(json.dumps({"inputs": i, "output": o}) for i, o in ROWS))
    told = command("learn", "head", "colour")
    assert told.code == 0, told.err
    assert "95 % interval" in told.out and "at confidence 0.8 or more" in told.out
    assert (project / ".agentfleet" / "heads" / "colour-learnt.json").is_file()
    found = json.loads(command("learn", "head", "colour", "--json").out)
    assert found["examples"] == len(ROWS)
    wrong = command("learn", "head", "color")
    assert wrong.code == 2 and "did you mean 'colour'" in wrong.err


def test_the_dispatcher_opens_it(tmp_path: Path) -> None:
    learn_head(colour, tmp_path)
    dispatcher = Dispatcher(Fleet(()), tmp_path)
    ladder = dispatcher.ladder(colour)
    assert [rung.model for rung in ladder.rungs] == ["head"]
    head = asyncio.run(dispatcher.backend(colour, ladder.models[ladder.rungs[0].tier, "head"]))
    assert head.measured["examples"] == len(ROWS)  # type: ignore[attr-defined]
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_skill_without_examples_gets_the_head_that_was_learnt_for_it(tmp_path: Path) -> None:
    @classify(tier="nano")
    def weather(text: str) -> Literal["wet", "dry"]:
        """Which?"""
        return ask(text)

    heads = tmp_path / "heads"
    assert all(rung.model != "head" for rung in Dispatcher(Fleet(()), heads).ladder(weather).rungs)
    rows = [{"inputs": {"text": f"{a} {b}"}, "output": kind} for kind, words in WEATHER for a in words for b in words]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    learn_head(weather, heads, data)
    ladder = Dispatcher(Fleet(()), heads).ladder(weather)
    assert [rung.model for rung in ladder.rungs] == ["head"]
    assert open_head(weather, heads).distribution("rain and hail")["wet"] > 0.6


WEATHER = (("wet", ("rain", "hail", "drizzle", "flood")), ("dry", ("sun", "drought", "dust", "desert")))
