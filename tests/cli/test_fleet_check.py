"""``agentfleet fleet check`` as a process: what it says of good and bad files, and of servers that really answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.project import Result, ended, start
from servers.protocol import ProtocolServer, Reply, error, good, hang, malformed, page, refusal, truncated

CANARY = "sk-canary-7c1d9e0f2b"
FILE = """\
embedded = false
[budget]
run = 0.25
day = 10
[[models]]
name = "near"
backend = "openai"
model = "m"
tier = "large"
base_url = "{openai}"
price = {{ input = 3, output = 15 }}
timeout = 60
[[models]]
name = "far"
backend = "anthropic"
model = "nobody-knows-this-one"
tier = "frontier"
base_url = "{anthropic}"
key = "env:FLEET_CHECK_KEY"
region = "eu"
location = "cloud"
timeout = 60
[[rules]]
when = {{ kind = "plan" }}
then = {{ tier = "frontier" }}
"""


def written(folder: Path, text: str) -> None:
    (folder / "agentfleet.toml").write_text(text, encoding="utf-8")


def check(folder: Path, *arguments: str, **environment: str) -> Result:
    return ended(start(folder, "fleet", "check", *arguments, **environment))


def test_a_good_file_is_shown_without_a_call(project: Path) -> None:
    written(project, FILE.format(openai="http://127.0.0.1:1/v1", anthropic="http://127.0.0.1:1"))
    done = check(project, FLEET_CHECK_KEY=CANARY, COLUMNS="200")
    assert (done.code, done.err) == (0, "")
    near, far = (line for line in done.out.splitlines() if line.startswith(("│ near", "│ far")))
    assert [cell.strip() for cell in near.split("│")[1:-1]] == [
        "near", "large", "openai", "m", "device", "restricted", "$3 in, $15 out (fleet file)", "–",
    ]  # fmt: skip
    assert [cell.strip() for cell in far.split("│")[4:-1]] == [
        "nobody-knows-this-one", "cloud, eu", "internal", "unknown", "set",
    ]  # fmt: skip
    assert "budget: $0.25 a run, $10 a day" in done.out
    assert "no step with a budget asks far: state a price" in done.out
    assert "rule 1: kind plan → tier frontier" in done.out
    assert CANARY not in done.out


def test_a_missing_key_is_no_mistake_of_the_file(project: Path) -> None:
    text = FILE.format(openai="http://127.0.0.1:1/v1", anthropic="http://127.0.0.1:1")
    written(project, text.replace('kind = "plan"', 'graph = "triaje"'))
    (done,) = check(project, "--json").rows
    assert done["problems"] == []
    assert done["notes"][-1] == "no graph 'triaje' here, which the file names; did you mean 'triage'?"
    assert [(m["name"], m["key"]) for m in done["models"]] == [("near", "–"), ("far", "missing: FLEET_CHECK_KEY")]


def test_every_mistake_is_named_with_its_line(project: Path) -> None:
    text = FILE.format(openai="http://10.9.8.7/v1", anthropic="http://127.0.0.1:1")
    written(project, text.replace("day = 10", "dya = 10").replace('tier = "frontier" }', 'tier = "frontire" }'))
    done = check(project)
    assert done.code == 2
    lines = done.out.splitlines()
    assert len(lines) == 3
    assert "agentfleet.toml:10: model near: base_url names the private address 10.9.8.7" in done.out
    assert "agentfleet.toml:4: budget: unknown key 'dya'; did you mean 'day'?" in done.out
    assert "agentfleet.toml:25: rule 1: unknown tier 'frontire'; did you mean 'frontier'?" in done.out


def test_a_file_that_is_not_there_or_no_toml(project: Path) -> None:
    assert check(project, "--fleet", "gone.toml").code == 2
    written(project, "[[models]\n")
    done = check(project, "--json")
    assert done.code == 2
    assert "agentfleet.toml:1:" in done.rows[0]["problems"][0]


def test_without_a_file_the_default_fleet_is_shown(project: Path) -> None:
    (project / "agentfleet.toml").unlink()
    done = check(project)
    assert done.code == 0
    assert "no fleet file: the default fleet" in done.out
    assert "smollm2" in done.out


@pytest.mark.server
def test_online_calls_each_model_once_and_says_what_came_back(project: Path) -> None:
    with ProtocolServer(good("Blue."), error(529)) as near, ProtocolServer(good("Blue \x1b[31mred.")) as far:
        written(project, FILE.format(openai=near.base_url, anthropic=far.origin))
        done = check(project, "--online", FLEET_CHECK_KEY=CANARY)
        told = check(project, "--online", "--json", FLEET_CHECK_KEY=CANARY)
    assert done.code == 0, done.out
    assert 'near answered "Blue." in' in done.out
    assert "(11+7 tokens, $0.0001)" in done.out
    assert "far answered" in done.out and "price unknown" in done.out
    assert "\x1b" not in done.out
    assert len(far.seen) == 2 and len(near.seen) == 2, "one call a model and check"
    assert told.code == 2
    near_call, far_call = told.rows[0]["calls"]
    assert (near_call["ok"], far_call["ok"], far_call["input_tokens"]) == (False, True, 14)
    assert CANARY in json.dumps(dict(far.seen[0].headers))
    assert CANARY not in done.out + done.err + told.out + told.err


BAD = {
    "an error": (error(500, f"boom {CANARY}"), "500"),
    "a web page": (page(), ""),
    "no JSON": (malformed(), ""),
    "a refusal": (refusal(), "declined"),
    "nothing": (good(" "), "nothing"),
    "no answer": (hang(), "no answer within 0.5 s"),
}


@pytest.mark.server
@pytest.mark.parametrize("name", BAD)
def test_online_says_what_is_wrong_with_a_server(name: str, project: Path) -> None:
    reply, expected = BAD[name]
    with ProtocolServer(reply) as server:
        text = f'embedded = false\n[[models]]\nname = "m"\nbackend = "openai"\nmodel = "m"\nbase_url = "{server.base_url}"\n'
        written(project, text + ("timeout = 0.5\n" if name == "no answer" else "") + 'key = "env:FLEET_CHECK_KEY"\n')
        done = check(project, "--online", "--json", FLEET_CHECK_KEY=CANARY)
    assert done.code == 2
    (call,) = done.rows[0]["calls"]
    assert not call["ok"]
    assert expected in call["problem"] and call["problem"]
    assert CANARY not in done.out + done.err


@pytest.mark.server
def test_online_a_cut_answer_is_an_answer_and_a_missing_key_is_not(project: Path) -> None:
    with ProtocolServer(truncated("Bl")) as near, ProtocolServer(Reply("x")) as far:
        written(project, FILE.format(openai=near.base_url, anthropic=far.origin))
        done = check(project, "--online", "--json")
    assert done.code == 2
    near_call, far_call = done.rows[0]["calls"]
    assert near_call["ok"]
    assert "FLEET_CHECK_KEY" in far_call["problem"]
    assert far.seen == []
