"""Every stock skill: a valid SKILL.md, examples of its types, the same tier and kind in both places."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from agentfleet.graph.step import Step
from agentfleet.routing.heads import open_head

SKILLS = Path(importlib.import_module("agentfleet.stock.skills").__path__[0])
NAMES = sorted(path.name for path in SKILLS.iterdir() if (path / "SKILL.md").is_file())


def skill(name: str) -> Step[..., object]:
    found = getattr(importlib.import_module(f"agentfleet.stock.skills.{name}.skill"), name)
    assert isinstance(found, Step)
    return found


def test_all_are_there() -> None:
    assert {"intent", "order", "gist", "resolve", "invoice", "critique", "language", "urgency"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_skill_md_is_valid(name: str) -> None:
    from skills_ref import validate

    assert validate(SKILLS / name) == []


@pytest.mark.parametrize("name", NAMES)
def test_skill_md_tells_the_truth(name: str) -> None:
    from skills_ref import read_properties

    about = read_properties(SKILLS / name)
    one = skill(name)
    assert about.name == one.name
    assert about.metadata["agentfleet-kind"] == one.kind
    assert about.metadata["agentfleet-tier"] == f"{one.tier} to {one.up_to}"
    assert about.metadata["agentfleet-schema"]


@pytest.mark.parametrize("name", [n for n in NAMES if (SKILLS / n / "examples.jsonl").is_file()])
def test_examples_fit_and_pass_no_rule_they_break(name: str) -> None:
    one = skill(name)
    lines = [line for line in (SKILLS / name / "examples.jsonl").read_text(encoding="utf-8").splitlines() if line]
    assert len(one.examples) == len(lines) >= 3
    assert len({json.dumps(json.loads(line)["inputs"]) for line in lines}) == len(lines), "an example stands twice"
    if one.kind != "classify":
        for example in one.examples:
            for check in one.checks:
                check(example.output, *example.inputs.values())


@pytest.mark.parametrize(("name", "accuracy"), [("intent", 0.85), ("language", 0.85), ("urgency", 0.5)])
def test_heads_train(name: str, accuracy: float) -> None:
    head = open_head(skill(name), None)
    assert head.measured["accuracy"] >= accuracy
    counts = {option.text: 0 for option in head.question.options}
    for example in skill(name).examples:
        counts[str(example.output)] += 1
    assert min(counts.values()) >= 40
