"""``agentfleet models pull / ls / verify / rm`` as a user meets them, with the real SmolLM2 from a hub on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.project import MOST, ROOT, Command, ended, start
from servers.hub import HubServer, repo
from servers.weights import folder, gguf

from agentfleet.backends.llama_cpp import embedded_path
from agentfleet.cli.pull import about, snippet
from agentfleet.fleet.config import load_fleet
from agentfleet.fleet.lock import load_lock
from agentfleet.fleet.pulled import Pulled

pytestmark = pytest.mark.server
SMOL, FILE = "mradermacher/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME, TOKEN = f"{SMOL}/{FILE}", "hf_canary_0123456789"
GRAPH = '''\
from typing import Literal

from agentfleet import ask, classify, graph


@classify(tier="small")
def kind(text: str) -> Literal["question", "order"]:
    """What is it?"""
    return ask(text)


@graph
def asks(text: str) -> str:
    return kind(text)
'''


@pytest.fixture
def hub(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a small file that passes for SmolLM2 in form; the project asks it."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with HubServer({SMOL: repo({FILE: gguf()})}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def use(project: Path, text: str) -> None:
    (project / "agentfleet.toml").write_text(f"embedded = false\n{text}")


# With the real model -------------------------------------------------------------------------------------------------


def part(project: Path) -> Path:
    return project / ".agentfleet" / "models" / SMOL.replace("/", "--") / ("1" * 12) / f".{FILE}.part"


def until_bytes(path: Path, count: int) -> None:
    """Wait until another process has written so much."""
    end = time.monotonic() + MOST
    while not (path.exists() and path.stat().st_size >= count):
        assert time.monotonic() < end, f"{path} never grew"
        time.sleep(0.01)


@pytest.mark.real_model
def test_a_killed_pull_goes_on_and_the_model_answers(project: Path, hub: HubServer) -> None:
    hub.repos[SMOL] = repo({FILE: embedded_path().read_bytes()})
    hub.stop_after = 50 * 2**20
    process = start(project, "models", "pull", "SmolLM2-135M-Instruct:Q4_1", HF_TOKEN=TOKEN)
    until_bytes(part(project), 20 * 2**20)
    process.kill()
    process.communicate()
    kept = part(project).stat().st_size
    assert not load_lock(project).pulled and not part(project).with_name(FILE).exists()

    use(project, f'[[models]]\nname = "smol"\nbackend = "llama_cpp"\nmodel = "hub:{NAME}"\n')
    (project / "graphs" / "asks.py").write_text(GRAPH)
    done = ended(start(project, "run", "asks", "--input", "text=Hi"))
    assert done.code == 2 and f"not pulled. Run: agentfleet models pull {NAME}" in done.err, "half a model is none"

    hub.go.set()
    done = ended(start(project, "models", "pull", "SmolLM2-135M-Instruct:Q4_1", HF_TOKEN=TOKEN))
    assert done.code == 0, done.err
    assert [seen.range for seen in hub.asked("GET", "/store/")] == ["", f"bytes={kept}-"]
    assert TOKEN not in done.out + done.err
    for told in ("licence: Apache-2.0", "trained for 8192 tokens", "in the weights (chatml)", f'model = "hub:{NAME}"'):
        assert told in done.out, told
    assert part(project).with_name(FILE).read_bytes() == embedded_path().read_bytes()

    done = ended(start(project, "models", "verify", "--load"))
    assert (done.code, done.out.startswith("ok ")) == (0, True), done.out + done.err
    done = ended(start(project, "run", "asks", "--input", "text=Hi", AGENTFLEET_THREADS="1"))
    assert done.code == 0 and any(answer in done.out for answer in ("question", "order")), done.out + done.err


@pytest.mark.real_model
def test_the_examples_of_the_help_pages_run(hub: HubServer, command: Command) -> None:
    hub.repos["ggml-org/Qwen3-1.7B-GGUF"] = repo(
        {"Qwen3-1.7B-Q4_K_M.gguf": embedded_path().read_bytes(), "Qwen3-1.7B-Q8_0.gguf": gguf()}
    )
    hub.repos["HuggingFaceTB/SmolLM2-360M-Instruct"] = repo(folder())
    for name in ("pull", "verify", "rm"):
        lines = [line.split()[1:] for line in command("models", name, "--help").out.splitlines()]
        shown = [words for words in lines if words[:2] == ["models", name]]
        assert shown, name
        for words in shown:
            assert command(*words).code == 0, words


# What each command says ----------------------------------------------------------------------------------------------


def test_pull_tells_what_it_fetched_and_how_to_use_it(project: Path, hub: HubServer, command: Command) -> None:
    done = command("models", "pull", "SmolLM2-135M-Instruct:Q4_1")
    assert done.code == 0, done.err
    assert f"pulled {NAME}, 0 MB, at revision {'1' * 40}" in done.out
    assert "weak: trained on English" in done.out and "memory: about 400 MB" in done.out
    assert f"{FILE}: 0 of 0 MB" in done.err, "no terminal, so no bar"
    use(project, done.out[done.out.index("[[models]]") :])
    (model,) = load_fleet(project / "agentfleet.toml").models
    assert (model.model, model.context, model.tiers) == (f"hub:{NAME}", 2048, ("small",))
    again = command("models", "pull", NAME, "--json")
    assert json.loads(again.out)["snippet"].endswith(done.out[done.out.index("[[models]]") :])
    assert "is here, as the lock knows it" in again.err


def test_ctrl_c_keeps_what_was_fetched(project: Path, hub: HubServer) -> None:
    hub.repos[SMOL] = repo({FILE: gguf(size=24 * 2**20)})
    hub.stop_after = 15 * 2**20
    process = start(project, "models", "pull", NAME)
    until_bytes(part(project), 10 * 2**20)
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert (done.code, "Traceback" in done.err) == (130, False)
    hub.go.set()
    assert ended(start(project, "models", "pull", NAME)).code == 0
    assert hub.asked("GET", "/store/")[-1].range == f"bytes={10 * 2**20}-"


def test_a_pull_that_fails_says_why_in_one_line(hub: HubServer, command: Command) -> None:
    hub.repos[SMOL] = repo({"pytorch_model.bin": b"PK"})
    done = command("models", "pull", SMOL)
    assert (done.code, done.out) == (2, "")
    assert "only pickles" in done.err and "Traceback" not in done.err
    assert command("models", "pull", "Qwen3-1.7").err.strip().endswith("did you mean 'Qwen3-1.7B'?")


def test_a_token_is_never_shown(hub: HubServer, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repos[SMOL].gated = "another"
    done = command("models", "pull", NAME, "--debug")
    assert done.code == 2 and "is gated" in done.err
    assert TOKEN not in done.out + done.err


def test_verify_says_what_changed_and_ends_with_1(project: Path, hub: HubServer, command: Command) -> None:
    assert command("models", "verify").out == "the lock names no weights\n"
    command("models", "pull", NAME)
    assert (command("models", "verify").code, command("models", "verify", FILE).code) == (0, 0)
    path = part(project).with_name(FILE)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = command("models", "verify", FILE)
    assert done.code == 1 and "changed" in done.out and f"agentfleet models pull {NAME}" in done.out
    (row,) = command("models", "verify", "--json").rows[0]
    assert (row["model"], row["state"]) == (NAME, "changed")
    assert command("models", "verify", "gone").code == 2


def test_verify_tells_of_a_fleet_that_names_what_is_not_locked(project: Path, hub: HubServer, command: Command) -> None:
    command("models", "pull", NAME)
    use(project, f'[[models]]\nname = "a"\nbackend = "llama_cpp"\nmodel = "hub:{NAME}@2222222"\n')
    done = command("models", "verify")
    assert done.code == 1 and "the fleet asks for" in done.out


def test_ls_shows_what_is_pulled_verified_and_used(project: Path, hub: HubServer, command: Command) -> None:
    command("models", "pull", NAME)
    use(project, f'[[models]]\nname = "smol"\nbackend = "llama_cpp"\nmodel = "hub:{NAME}"\n')
    fleet, pulled = command("models", "ls", "--json").rows[0]
    assert (fleet["name"], fleet["state"]) == ("smol", "ready")
    assert (pulled["pulled"], pulled["files"], pulled["fleet"]) == (NAME, "verified", ["smol"])
    assert (pulled["revision"], pulled["bytes"]) == ("1" * 40, len(gguf()))
    told = command("models", "ls").out
    assert "verified" in told and "111111111111" in told
    part(project).with_name(FILE).unlink()
    fleet, pulled = command("models", "ls", "--json").rows[0]
    assert pulled["files"] == "missing" and f"agentfleet models pull {NAME}" in fleet["state"]


def test_rm_asks_first(project: Path, hub: HubServer, command: Command) -> None:
    command("models", "pull", NAME)
    use(project, f'[[models]]\nname = "smol"\nbackend = "llama_cpp"\nmodel = "hub:{NAME}"\n')
    done = command("models", "rm", NAME)
    assert done.code == 2 and "the fleet uses it as smol. To do so without being asked: --yes" in done.err
    assert load_lock(project).pulled and part(project).with_name(FILE).exists()
    done = command("models", "rm", "SmolLM2-135M-Instruct", "--yes")
    assert done.code == 0 and "removed" in done.out
    assert not load_lock(project).pulled and not part(project).parent.exists()
    assert command("models", "rm", NAME, "--yes").code == 2


def test_rm_at_a_terminal_takes_no_for_an_answer(project: Path, hub: HubServer, command: Command) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    command("models", "pull", NAME)
    line = [sys.executable, "-m", "agentfleet.cli.main", "models", "rm", NAME]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for answer, left in ((b"n\n", True), (b"y\n", False)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(line, cwd=project, env=env, stdin=theirs, capture_output=True, timeout=MOST, check=False)
        os.close(ours)
        os.close(theirs)
        assert b"Remove" in done.stderr and bool(load_lock(project).pulled) == left, done.stderr


def test_what_nobody_knows_is_not_made_up(project: Path) -> None:
    rows = [{"name": "m.gguf", "sha256": "0" * 64, "bytes": 6 * 10**9}]
    entry = Pulled.model_validate({"repo": "o/m", "revision": "a" * 40, "file": "m.gguf", "files": rows})
    entry.folder(project).mkdir(parents=True)
    entry.opened(project).write_bytes(gguf(None))
    told = "\n".join(about(entry))
    assert "licence: the hub tells none" in told and "chat template: none" in told and "about 7300 MB" in told
    assert 'tier = "large"' in snippet(entry)
