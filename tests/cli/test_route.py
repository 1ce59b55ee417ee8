"""``agentfleet route explain`` as a process: every rung in order with its reason, rules, budgets, labels and estimates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.project import Result, ended, start
from servers.protocol import ProtocolServer, good

FLEET = """\
embedded = false
[budget]
run = 0.02
[[models]]
name = "house"
backend = "openai"
model = "m"
tier = "small"
base_url = "{url}"
price = {{ input = 1, output = 2 }}
[[models]]
name = "cheap"
backend = "openai"
model = "m"
tier = "small"
base_url = "{url}"
price = {{ input = 0.1, output = 0.2 }}
[[models]]
name = "world"
backend = "openai"
model = "m"
tier = "large"
base_url = "https://models.invalid/v1"
price = {{ input = 1, output = 2 }}
[[models]]
name = "dear"
backend = "openai"
model = "m"
tier = "large"
base_url = "{url}"
price = {{ input = 900, output = 900 }}
[[models]]
name = "unpriced"
backend = "openai"
model = "nobody-knows-this-one"
tier = "large"
base_url = "{url}"
location = "cloud"
sees = "restricted"
[[rules]]
name = "German"
when = {{ language = "de" }}
then = {{ tier = "large" }}
[[rules]]
name = "numbers"
when = {{ signals = "numbers" }}
then = {{ avoid = "cheap" }}
"""
DESK = '''\
from typing import Annotated

from agentfleet import Label, ask, extract, graph, step, summarise


@summarise(tier="small", up_to="frontier")
def gist(mail: str, words: int = 30) -> str:
    """One sentence."""
    if not mail.strip():
        return "nothing"
    return ask(mail)


@extract(tier="small", up_to="person")
def number_of(mail: str, gist: str) -> int:
    """The number."""
    return ask(mail)


@step
def both(one: str, two: int) -> str:
    return f"{one} {two}"


@graph
def desk(mail: Annotated[str, Label("confidential")]) -> str:
    told = gist(mail)
    return both(told, number_of(mail, told))
'''


@pytest.fixture
def desk(project: Path) -> Path:
    (project / "graphs" / "desk.py").write_text(DESK)
    (project / "agentfleet.toml").write_text(FLEET.format(url="http://127.0.0.1:1/v1"))
    return project


def explained(folder: Path, *arguments: str) -> Result:
    return ended(start(folder, "route", "explain", *arguments, COLUMNS="200"))


def told(folder: Path, *arguments: str) -> dict[str, Any]:
    done = explained(folder, *arguments, "--json")
    assert done.code == 0, done.err
    (row,) = done.rows
    return row  # type: ignore[no-any-return]


def test_every_rung_has_its_place_and_reason(desk: Path) -> None:
    found = told(desk, "desk", "gist", "--input", "Please tell me where the parcel is.")
    assert [(rung["tier"], rung["model"], rung["asked"]) for rung in found["rungs"]] == [
        ("small", "cheap", "first"),
        ("small", "house", "if needed"),
        ("large", "world", "no"),
        ("large", "dear", "no"),
        ("large", "unpriced", "no"),
        ("frontier", "–", "no"),
    ]
    why = {rung["model"]: rung["why"] for rung in found["rungs"]}
    assert why["cheap"] == "cheapest of 2"
    assert why["house"] == "cheapest is cheap"
    assert why["world"] == "label: the data is confidential, and world (cloud) may see up to internal"
    assert why["dear"].startswith("budget: this call may cost $")
    assert why["dear"].endswith("$0.0200 is left of this run's budget")
    assert why["unpriced"] == "budget: the price of unpriced is unknown; state it in the fleet file"
    assert why["–"] == "the fleet has no model in this tier"
    assert [rule["why"] for rule in found["rules"]] == ["language is en", "no signal numbers"]
    assert found["request"]["tokens_are"] == "estimated"
    assert found["budget_left"] == "$0.0200 of this run's budget"
    costs = {rung["model"]: rung["estimate"]["cost"] for rung in found["rungs"] if rung["estimate"]}
    assert costs["house"] == pytest.approx(10 * costs["cheap"])
    assert costs["unpriced"] is None


def test_the_rule_that_applies_is_named(desk: Path) -> None:
    found = told(desk, "desk", "gist", "-i", "Bitte sagen Sie mir, wo das Paket ist.")
    assert (found["rule"], found["rungs"][0]["tier"]) == ("German", "large")
    assert [rule["why"] for rule in found["rules"]] == ["", None]
    found = told(desk, "desk", "gist", "-i", "The sum of 1, 2, 3, 4, 5, 6 and 7 is?")
    rungs = {rung["model"]: rung for rung in found["rungs"]}
    assert rungs["cheap"]["why"] == "rule: cheap is left out (numbers)"
    assert rungs["house"]["asked"] == "first"


def test_inputs_are_an_object_a_file_or_the_text_itself(desk: Path) -> None:
    (desk / "mail.json").write_text('{"mail": "Where is it?", "gist": "x"}')
    found = told(desk, "desk", "number_of", "--input", "@mail.json")
    assert found["rungs"][-1]["tier"] == "person"
    (desk / "mail.txt").write_text("Where is the parcel?")
    assert told(desk, "desk", "gist", "--input", "@mail.txt")["request"]["language"] == "en"
    assert told(desk, "desk", "gist", "--input", '{"mail": "x", "words": 3}')["path"] == "gist"
    done = explained(desk, "desk", "number_of", "--input", "only text")
    assert done.code == 2
    assert 'number_of takes an object: {"mail": ..., "gist": ...}' in done.err
    done = explained(desk, "desk", "number_of", "--input", '{"mial": "x", "gist": "y"}')
    assert (done.code, "did you mean 'mail'" in done.err) == (2, True)
    assert explained(desk, "desk", "gist", "--input", "@gone.json").code == 2


def test_what_asks_no_model_is_said(desk: Path) -> None:
    assert told(desk, "desk", "gist", "-i", "  ")["settled"] == '"nothing"'
    done = explained(desk, "desk", "both", "-i", "x")
    assert (done.code, "desk has no step 'both' that asks a model; known: gist, number_of" in done.err) == (2, True)


def test_the_stock_support_desk_reads_as_a_person_would_want_it(project: Path) -> None:
    (project / "graphs" / "support_desk.py").unlink()
    mail = "Hello, where is my parcel? I ordered it on May 3 and it is still not here."
    done = explained(project, "support_desk", "intent", "--input", mail)
    assert done.code == 0, done.err
    head, *rest = done.out.splitlines()
    assert head == "support_desk, intent: classify, nano to person"
    text = "\n".join(rest)
    for words in (
        "tokens, text, language en, internal",
        "answers    one of 4 options",
        "rule       the fleet file has none",
        "objective  cheapest",
        "trained on the examples of this step",
        "waits for an answer of a person",
    ):
        assert words in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in rest if line.startswith("│")]
    assert [row[1:4] for row in rows] == [
        ["nano", "head", "first"],
        ["nano", "smollm2", "if needed"],
        ["large", "–", "no"],
        ["frontier", "–", "no"],
        ["person", "–", "if needed"],
    ]
    assert not rows[1][5].startswith("~"), "the tokens of a model of this machine are counted"


@pytest.mark.server
def test_what_then_happened_stands_beside_the_estimate_and_teaches_the_next(desk: Path) -> None:
    with ProtocolServer(good("A parcel is late.")) as server:
        (desk / "agentfleet.toml").write_text(FLEET.format(url=server.base_url))
        first = told(desk, "desk", "gist", "-i", "Please tell me where the parcel is.", "--run")
        shown = explained(desk, "desk", "gist", "-i", "Please tell me where the parcel is.", "--run")
        run = ended(start(desk, "run", "graphs/desk.py:gist", "-i", "mail=Please tell me where it is.", "--json"))
    assert [(one["model"], one["outcome"]) for one in first["happened"]] == [("cheap", "valid")]
    assert first["rungs"][0]["estimate"]["seconds"] is None
    assert "then (done):" in shown.out
    assert "small cheap valid (11+7 tokens, $0.0000" in shown.out
    assert run.rows[0]["status"] == "done"
    later = told(desk, "desk", "gist", "-i", "Please tell me where the parcel is.")
    guess = {rung["model"]: rung["estimate"] for rung in later["rungs"]}["cheap"]
    assert guess["seconds"] > 0
    assert guess["answer_tokens"] == 7, "as long as the last answer was"


def test_a_step_that_stands_twice_is_asked_for_by_path(project: Path) -> None:
    text = DESK.replace("    told = gist(mail)\n", '    told = gist.using(name="a")(gist.using(name="b")(mail))\n')
    (project / "graphs" / "desk.py").write_text(text)
    done = explained(project, "desk", "gist", "-i", "x")
    assert done.code == 2
    assert "desk has several steps 'gist': write one of b, a" in done.err
    assert json.loads(explained(project, "desk", "a", "-i", "x", "--json").out)["path"] == "a"
