"""mypy and pyright see every wrong use, and raise no false alarm."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from agentfleet import Graph

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FLOWS = sorted((HERE / "flows").glob("*.py"))
RIGHT = [HERE / "right.py", *FLOWS]
WRONG = HERE / "wrong.py"
Found = dict[str, dict[int, list[str]]]


def marked() -> set[int]:
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, start=1) if "# wrong: " in line}


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)


@cache
def mypy() -> Found:
    """Errors by file name and line."""
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", "--output=json", "--config-file="]
    # Modules of the tests are found as files; the package itself is found on MYPYPATH.
    done = run([sys.executable, "-m", "mypy", *options, *map(str, [*RIGHT, WRONG])], ROOT)
    assert done.returncode in (0, 1), done.stderr
    found: Found = defaultdict(lambda: defaultdict(list))
    for line in done.stdout.splitlines():
        item = json.loads(line)
        if item["severity"] == "error":
            found[Path(item["file"]).name][item["line"]].append(item["message"])
    return found


@cache
def pyright(folder: Path) -> Found:
    """The same; skips where pyright is absent or its node cannot start (it is fetched at first use)."""
    if importlib.util.find_spec("pyright") is None and shutil.which("pyright") is None:
        pytest.skip("pyright is not installed")
    for path in (*RIGHT, WRONG):  # a project of its own: paths outside of it are ignored
        shutil.copy(path, folder)
    config = {
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "pyright"] if importlib.util.find_spec("pyright") else ["pyright"]
    options = ["--outputjson", "--pythonpath", sys.executable, "--project", str(folder / "pyrightconfig.json")]
    done = run([*command, *options], ROOT)
    start = done.stdout.find("{")
    if done.returncode not in (0, 1) or start < 0:
        pytest.skip("pyright cannot start its node")
    found: Found = defaultdict(lambda: defaultdict(list))
    for item in json.loads(done.stdout[start:])["generalDiagnostics"]:
        if item["severity"] == "error":
            found[Path(item["file"]).name][item["range"]["start"]["line"] + 1].append(item["message"])
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pyright")


def test_there_are_enough_wrong_uses() -> None:
    assert len(marked()) >= 20


def test_mypy_sees_each_wrong_use_and_no_other() -> None:
    assert set(mypy().get(WRONG.name, {})) == marked()


def test_mypy_has_no_false_alarm() -> None:
    assert {path.name: dict(mypy().get(path.name, {})) for path in RIGHT} == {path.name: {} for path in RIGHT}


def test_pyright_sees_each_wrong_use_and_no_other(folder: Path) -> None:
    assert set(pyright(folder).get(WRONG.name, {})) == marked()


def test_pyright_has_no_false_alarm(folder: Path) -> None:
    found = pyright(folder)
    assert {path.name: dict(found.get(path.name, {})) for path in RIGHT} == {path.name: {} for path in RIGHT}


def load(path: Path) -> dict[str, object]:
    name = f"typing_case_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    spec.loader.exec_module(module)
    return vars(module)


def reference_files() -> list[Path]:
    """Workflows kept beside the checkout, or where AGENTFLEET_SHARED_API says; none in most places."""
    folder = Path(os.environ.get("AGENTFLEET_SHARED_API", ROOT.parent / "shared" / "api"))
    return sorted(folder.glob("*.py"))


@pytest.mark.parametrize("path", [*RIGHT, *reference_files()], ids=lambda path: path.stem)
def test_what_checks_also_traces(path: Path) -> None:
    graphs = [value for value in load(path).values() if isinstance(value, Graph)]
    assert graphs
    for one in graphs:
        assert one.dag.nodes and len(one.hash) == 32
