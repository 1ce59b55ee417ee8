"""The README is true: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from cli.project import Command

from agentfleet.cli.main import app
from agentfleet.fleet.config import load_fleet

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs_top_to_bottom(project: Path) -> None:
    source = "\n".join(blocks(ROOT / "README.md", "python"))
    path = project / "graphs" / "readme.py"
    path.write_text(source)
    exec(compile(source, str(path), "exec"), {"__name__": "readme", "__file__": str(path)})


def test_the_readmes_graph_runs_from_the_command_line(project: Path, command: Command) -> None:
    (project / "graphs" / "readme_triage.py").write_text(blocks(ROOT / "README.md", "python")[0])
    assert command("check", "readme_triage").out == "readme_triage: ok\n"


def test_the_fleet_file_of_the_docs_loads(tmp_path: Path) -> None:
    for block in blocks(ROOT / "docs" / "fleet.md", "toml"):
        path = tmp_path / "agentfleet.toml"
        path.write_text(block)
        assert len(load_fleet(path).models) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for command in re.findall(r"(?:^|`)\./([a-z-]+)", text, re.MULTILINE):
        assert (ROOT / command).is_file(), command
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for command in re.findall(r"(?:^|`)agentfleet ([a-z]+)", text, re.MULTILINE):
        assert command in known, command


def test_the_same_floors_in_the_docs_and_in_the_linter() -> None:
    rooms = re.findall(r"^\| \d \| `(\w+)(?:/|\.py)`", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1]
    assert [room for room in rooms if room not in contract] == []


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r'"([a-z][a-z0-9-]+)(?:\[[a-z,]+\])?[><=]', project)) - {"agentfleet"}
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in named if name not in reasons} == set()
