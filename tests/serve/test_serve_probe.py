"""The probe on real weights: in this process, and behind our own endpoint, as the command line asks and shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import command, project
from cli.project import Command
from serve.endpoint import Endpoint

from agentfleet.fleet import discover
from agentfleet.fleet.probes import load_probes

__all__ = ["command", "project"]

pytestmark = [pytest.mark.real_model, pytest.mark.server]


def named(endpoint: Endpoint, backend: str) -> str:
    return f'[[models]]\nname = "far"\nbackend = "{backend}"\nmodel = "smollm2"\nbase_url = "{endpoint.url}/v1"\n'


def test_weights_in_this_process_are_held_to_a_schema(project: Path, command: Command) -> None:
    (row,) = command("models", "probe", "smollm2", "--json").rows
    assert (row["strategies"], row["context"]) == ({"grammar": "enforced"}, 4096)
    assert len(row["identity"]) == 64
    assert load_probes(project)["smollm2"].identity == row["identity"]


def test_our_endpoint_enforces_schemas_and_decides(project: Path, command: Command, endpoint: Endpoint) -> None:
    (project / "agentfleet.toml").write_text(named(endpoint, "openai"))
    (row,) = command("models", "probe", "far", "--json").rows
    assert row["strategies"]["native"] == "enforced"
    assert row["strategies"]["tools"].startswith("failed:") and "tool_choice" in row["strategies"]["tools"]
    assert (row["systemone"], row["logprobs"], row["tools"], row["context"]) == (True, False, False, 4096)
    assert (row["strategy"], row["identity"]) == ("native", endpoint.ask("GET", "/v1/models").data["data"][0]["sha256"])


def test_the_table_is_for_people(project: Path, command: Command, endpoint: Endpoint) -> None:
    (project / "agentfleet.toml").write_text(named(endpoint, "decisions"))
    done = command("models", "probe", "far")
    assert done.code == 0, done.err
    assert "/v1/systemone" in done.out and "yes" in done.out
    assert "probes.json" in done.out.replace("\n", "")


def test_a_model_that_is_not_there_or_not_reached_is_said(project: Path, command: Command) -> None:
    done = command("models", "probe", "smollm3")
    assert (done.code, "did you mean 'smollm2'" in done.err) == (2, True)
    (project / "agentfleet.toml").write_text(
        '[[models]]\nname = "far"\nbackend = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    done = command("models", "probe", "far")
    assert done.code == 2
    assert "cannot reach 127.0.0.1:9" in done.err
    assert load_probes(project) == {}


def test_a_running_server_is_offered_by_doctor_and_init_and_not_used(
    project: Path, command: Command, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "PORTS", {endpoint.port: "vLLM"})
    monkeypatch.setattr(discover, "LIMIT", 30.0)
    shown = command("doctor").out
    assert f'base_url = "{endpoint.url}/v1"' in [line.strip() for line in shown.splitlines()]
    notes: dict[str, Any] = {row["what"]: row for row in json.loads(command("doctor", "--json").out)}
    assert "not used until" in notes["server agentfleet serve-model"]["note"]
    assert command("init", "desk").code == 0
    text = (project / "desk" / "agentfleet.toml").read_text()
    assert f'# base_url = "{endpoint.url}/v1"' in text
    assert not [line for line in text.splitlines() if line and not line.startswith("#")]
    (project / "agentfleet.toml").write_text(named(endpoint, "openai"))
    assert "server " not in command("doctor").out
