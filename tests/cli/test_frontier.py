"""A run that waits for a model, and the hosted model that is named later: over the wire, from the command line.

What was committed is not repeated, the calls are billed, and the key is nowhere but in the request.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.project import ROOT, Result, ended, start
from servers.protocol import ProtocolServer, error, good

pytestmark = pytest.mark.server

CANARY = "sk-canary-5e1f0c2d9a7b"
DESK = '''\
from pathlib import Path
from typing import Annotated

from agentfleet import ByReference, Plan, ask, graph, plan, step


@step(effect=True)
async def receive(mail: str) -> str:
    with Path("received.log").open("a") as log:
        log.write(mail + "\\n")
    return mail


@step
def price_of(part: str) -> float:
    """Price of a part in EUR."""
    return {"bell": 9.0}.get(part, 50.0)


@step(effect=True)
async def offer(price: Annotated[float, ByReference()], text: str) -> str:
    """Send an offer."""
    with Path("offers.log").open("a") as log:
        log.write(f"{text} {price}\\n")
    return f"{text}: {price:.2f} EUR"


@plan(tier="large", up_to="frontier", tools=[price_of, offer], at_most=3)
def answer(mail: str) -> Plan[str]:
    """Send one offer for the part that the mail names."""
    return ask(mail)


@answer.check
def a_part_of_the_mail(todo: Plan[str], mail: str) -> None:
    if todo.uses(price_of, "part")[0] not in mail:
        raise ValueError("ask for the price of a part that the mail names")


@graph
def desk(mail: str) -> str:
    return answer.carry_out(answer(receive(mail)))
'''


def planned(part: str, tool: str = "price_of") -> str:
    steps = [
        {"id": "s1", "tool": tool, "with": {"part": part}},
        {"id": "s2", "tool": "offer", "with": {"price": {"ref": "s1"}, "text": "A new one \u001b[31m"}},
    ]
    return json.dumps({"steps": steps, "result": "s2"})


GOOD = planned("bell")
FIRST = {
    "breaks the schema": ('{"steps": [], "result": "s9"}', "invalid"),
    "names no tool": (planned("bell", "steal"), "invalid"),
    "breaks a check": (planned("fork"), "rejected"),
}
PROVIDERS = ("anthropic", "openai")


@pytest.fixture
def waiting(project: Path) -> tuple[Path, str]:
    """The project, and a run in it that waits for a model of the empty tiers large and frontier."""
    (project / "graphs" / "desk.py").write_text(DESK)
    done = ended(start(project, "run", "desk", "-i", "mail=What is a bell?", "--json"))
    (row,) = done.rows
    assert (done.code, row["status"], row["waiting"][0]["reason"]) == (0, "waiting", "model")
    return project, row["run_id"]


def variables(provider: str, server: ProtocolServer) -> dict[str, str]:
    url = server.origin if provider == "anthropic" else server.base_url
    return {f"{provider.upper()}_BASE_URL": url, f"{provider.upper()}_API_KEY": CANARY}


def everything(project: Path, *done: Result) -> str:
    """All output, and all bytes of all files of the project, the ledger's among them."""
    files = (path.read_bytes().decode("latin-1") for path in project.rglob("*") if path.is_file())
    return "".join([*(one.out + one.err for one in done), *files])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("first", FIRST)
def test_a_bad_plan_is_asked_again_and_the_run_ends_without_repeating(
    first: str, provider: str, waiting: tuple[Path, str]
) -> None:
    project, run = waiting
    text, outcome = FIRST[first]
    with ProtocolServer(good(text), good(GOOD)) as server:
        named = ("resume", "--frontier", f"{provider}:big-model", "--json")
        done = ended(start(project, *named, **variables(provider, server)))
    assert done.code == 0, done.err
    (row,) = done.rows
    assert (row["run_id"], row["status"], row["value"]) == (run, "done", "A new one \u001b[31m: 9.00 EUR")
    attempts = row["steps"]["answer"]["attempts"]
    assert [one["outcome"] for one in attempts] == [outcome, "valid"]
    assert {(one["tier"], one["model"]) for one in attempts} == {("frontier", "big-model")}
    assert all(one["usage"]["input_tokens"] > 0 and one["usage"]["output_tokens"] > 0 for one in attempts)
    assert attempts[0]["problem"] in json.dumps(server.seen[1].body, ensure_ascii=False).replace('\\"', '"')
    assert len(server.seen) == 2
    assert (project / "received.log").read_text() == "What is a bell?\n"
    assert len((project / "offers.log").read_text().splitlines()) == 1
    shown = ended(start(project, "show", run, "--attempts"))
    assert "\x1b" not in shown.out
    assert CANARY in json.dumps(dict(server.seen[0].headers))
    assert CANARY not in everything(project, done, shown)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_of_the_fleet_file_is_billed_at_its_price(provider: str, waiting: tuple[Path, str]) -> None:
    project, run = waiting
    with ProtocolServer(good(planned("fork")), good(GOOD)) as server:
        url = server.origin if provider == "anthropic" else server.base_url
        (project / "agentfleet.toml").write_text(
            f'[[models]]\nname = "hosted"\nbackend = "{provider}"\nmodel = "big-model"\nbase_url = "{url}"\n'
            'tier = "frontier"\nkey = "env:OWN_CREDENTIAL"\nprice = { input = 1000, output = 2000 }\n'
        )
        named = ("--frontier", f"{provider}:big-model")  # stands in the file: that entry is meant, not a second one
        key = {f"{provider.upper()}_API_KEY": "sk-another-key-000", "OWN_CREDENTIAL": CANARY}
        done = ended(start(project, "resume", run, *named, "--json", **key))
    (row,) = done.rows
    attempts = row["steps"]["answer"]["attempts"]
    billed = [(one["usage"]["input_tokens"] * 1000 + one["usage"]["output_tokens"] * 2000) / 1e6 for one in attempts]
    assert [one["cost"] for one in attempts] == pytest.approx(billed)
    assert row["cost"] == pytest.approx(sum(billed)) and row["cost"] > 0.04
    assert {one["model"] for one in attempts} == {"hosted"}
    (listed,) = ended(start(project, "runs", "--json")).rows
    assert listed["cost"] == pytest.approx(row["cost"])
    assert CANARY not in everything(project, done)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_that_refuses_the_key_leaves_the_run_waiting(provider: str, waiting: tuple[Path, str]) -> None:
    project, run = waiting
    with ProtocolServer(error(401, f"invalid key {CANARY}")) as server:
        done = ended(start(project, "resume", "--frontier", f"{provider}:m", "--json", **variables(provider, server)))
    (row,) = done.rows
    assert (done.code, row["status"]) == (0, "waiting")
    assert {one["outcome"] for one in row["steps"]["answer"]["attempts"]} == {"unavailable"}
    shown = ended(start(project, "show", run, "--attempts"))
    assert "401" in shown.out
    assert CANARY not in everything(project, done, shown)

    with ProtocolServer(good(GOOD)) as server:
        again = ended(start(project, "resume", "--frontier", f"{provider}:m", **variables(provider, server)))
    assert again.code == 0
    assert "done 1; waiting 0; failed 0" in again.out
    assert (project / "received.log").read_text() == "What is a bell?\n"


def test_a_key_alone_is_not_used(waiting: tuple[Path, str]) -> None:
    project, _ = waiting
    with ProtocolServer(good(GOOD)) as server:
        done = ended(start(project, "resume", **variables("anthropic", server)))
    assert server.seen == []
    assert "done 0; waiting 1 (answer needs a model 1)" in done.out


def test_a_model_named_without_its_libraries_is_told(project: Path, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys\nsys.modules['instructor'] = None\n")
    search = f"{tmp_path / 'without'}:{ROOT}"
    named = ("run", "triage", "-i", "mail=now", "--frontier", "anthropic:m")
    done = ended(start(project, *named, PYTHONPATH=search, ANTHROPIC_API_KEY=CANARY))
    assert done.code == 2
    assert "error: instructor is not installed; run: pip install 'agentfleet[frontier]'" in done.err
    assert ended(start(project, *named[:4], PYTHONPATH=search)).code == 0


def test_a_model_named_without_a_key_is_told(waiting: tuple[Path, str]) -> None:
    project, _ = waiting
    done = ended(start(project, "resume", "--frontier", "anthropic:big-model"))
    assert done.code == 2
    assert "ANTHROPIC_API_KEY, which is not set; export ANTHROPIC_API_KEY=" in done.err
