"""A small project on disk whose graphs need no model, and a way to run commands in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.project import SUPPORT_DESK, TRIAGE, Command, Result, end_all

from agentfleet.cli.app import state
from agentfleet.cli.main import invoke


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's folder; the working directory while the test runs."""
    (tmp_path / "graphs").mkdir()
    (tmp_path / "examples").mkdir()
    (tmp_path / "agentfleet.toml").write_text("")
    (tmp_path / "graphs" / "triage.py").write_text(TRIAGE)
    (tmp_path / "graphs" / "support_desk.py").write_text(SUPPORT_DESK)
    (tmp_path / "examples" / "inbox.jsonl").write_text('{"email": "Where is my parcel?"}\n')
    for name in ("AGENTFLEET_FLEET", "AGENTFLEET_FRONTIER", "AGENTFLEET_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    end_all()
    sys.path[:] = path
    state.debug = False


@pytest.fixture
def command(project: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``agentfleet ARGUMENTS`` in the project, in this process."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = invoke(list(arguments))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
