"""What README, docs and --help show is true: Python blocks run, TOML loads, command lines name what there is."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from agentfleet.cli.main import app
from agentfleet.fleet.config import load_fleet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[str]:
    """Every `agentfleet ...` line of a page, in shell blocks and in running text."""
    text = path.read_text(encoding="utf-8")
    lines = [line.split("#")[0] for block in blocks(path, "bash") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`(agentfleet [a-z][^`]*)`", prose)
    return [line.strip() for line in lines if line.startswith("agentfleet ")]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run_one_after_the_other(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTFLEET_LEDGER", ":memory:")
    path = tmp_path / f"shown_in_{page.stem.lower()}.py"
    path.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "toml")], ids=lambda p: p.name)
def test_toml_blocks_are_fleet_files(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "toml"):
        (tmp_path / "agentfleet.toml").write_text(text, encoding="utf-8")
        assert load_fleet(tmp_path / "agentfleet.toml").models


def strange(line: str) -> str:
    """What a command line names that is not there: a command or an option; "" when all is known."""
    node: Any = typer.main.get_command(app)
    rest = shlex.split(line)[1:]
    while rest and hasattr(node, "commands") and not rest[0].startswith("-"):
        if rest[0] not in node.commands:
            return rest[0]
        node, rest = node.commands[rest[0]], rest[1:]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    wanted = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    return " ".join(sorted(wanted - known - {"--help"}))


def helps(node: Any) -> Iterator[str]:
    """The help texts of a command and of all below it."""
    yield node.help or ""
    for below in getattr(node, "commands", {}).values():
        yield from helps(below)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    assert [(line, odd) for line in commands(page) if (odd := strange(line))] == []


def test_examples_of_help_name_real_commands_and_options() -> None:
    lines = [line.strip() for text in helps(typer.main.get_command(app)) for line in text.splitlines()]
    examples = [line for line in lines if line.startswith("agentfleet ")]
    assert len(examples) >= 10
    assert [(line, odd) for line in examples if (odd := strange(line))] == []


def test_an_invented_option_is_seen() -> None:
    assert strange("agentfleet runs --colour red") == "--colour"
    assert strange("agentfleet fly") == "fly"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
