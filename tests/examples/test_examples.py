"""Each example runs by itself, as a process of its own, and prints what its docstring says that it prints."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ON_THE_MODEL = {"quickstart.py"}


def as_parameters(paths: list[Path]) -> list[object]:
    """Those that run on the embedded model carry the marker."""
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.real_model] * (p.name in ON_THE_MODEL)) for p in paths]


def shown(path: Path) -> tuple[str, str]:
    """The command in a docstring, and the output below it, up to an empty line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    command, _, output = text.partition("\n$ ")[2].split("\n\n")[0].partition("\n")
    return command, output


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command of the docstring, with this interpreter and a ledger of its own."""
    program, *arguments = shown(path)[0].split()
    module = {"python": [], "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider"]}[program]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTFLEET_", "PYTEST_"))}
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**kept, "PYTHONPATH": search, "AGENTFLEET_LEDGER": str(folder / "ledger.sqlite")}
    command = [sys.executable, *module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("path", as_parameters(EXAMPLES))
def test_an_example_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if path.name.startswith("test_"):
        assert " passed" in done.stdout
    else:
        assert done.stdout.strip() == shown(path)[1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_names_itself(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    assert shown(path)[0].endswith(f"examples/{path.name}")


def test_there_are_six() -> None:
    assert len(EXAMPLES) == 6
