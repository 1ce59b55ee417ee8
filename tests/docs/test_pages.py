"""What the pages say beyond their code: quoted messages stand in the source, and their commands do what they say."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.project import Command

from agentfleet import errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page of docs/ (or a path from there) in one language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The arguments of each ``agentfleet ...`` line in the page's shell blocks."""
    lines = [line.split("  #")[0] for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("agentfleet ")]


# -- errors.md ---------------------------------------------------------------------------------------------------------


def templates() -> Iterator[str]:
    """Every text in the source, with ``…`` for what is filled in (constants of the module are filled in here)."""
    for path in (ROOT / "agentfleet").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        known = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_text(node.value)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(_filled(part, known) for part in node.values)
            elif _is_text(node):
                yield node.value.replace("{}", "…")


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _filled(part: Any, known: dict[str, str]) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return known.get(part.value.id, "…") if isinstance(part.value, ast.Name) else "…"


def quoted() -> list[str]:
    """The first column of the tables of messages, which is one quotation."""
    rows = re.findall(r"^\| `([^`]+)` \|", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [row for row in rows if " " in row]


def parts(message: str) -> list[str]:
    """What stands between the varying places; a word or more."""
    found = [part.strip().removeprefix("cannot ") for part in message.split("…")]  # its verb may be filled in
    return [part for part in found if len(part.strip(" .:;,()")) > 3]


def test_quoted_messages_stand_in_the_source() -> None:
    assert len(quoted()) > 25
    whole = "\n".join(set(templates()))
    # A message may be joined from several texts, so each of its parts is looked for by itself.
    assert [(message, part) for message in quoted() for part in parts(message) if part not in whole] == []


def test_every_error_has_its_line() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    found = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert [name for name in found if f"`{name}`" not in page and f".{name}`" not in page] == []


# -- the commands of running.md and graphs.md --------------------------------------------------------------------------


@pytest.fixture
def shop(project: Path) -> Path:
    """The project of running.md: its graph and two rows of input."""
    (project / "graphs" / "buy.py").write_text(blocks("running.md", "python")[0])
    rows = [{"part": "bell", "price": 9}, {"part": "frame", "price": 700}]
    (project / "parts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return project


def test_the_commands_of_running_do_what_they_say(shop: Path, command: Command) -> None:
    newest = ""
    told: dict[str, str] = {}
    for arguments in commands("running.md"):
        result = command(*[newest if word == "RUN" else word for word in arguments])
        assert result.code == 0, (arguments, result.err)
        told[" ".join(arguments)] = result.out
        newest = json.loads(command("runs", "--limit", "1", "--json").out)["run_id"]
    assert "ordered bell" in told["run buy --input part=bell --input price=9"]
    assert told["run buy --inputs parts.jsonl --json"].count('"run_id"') == 2
    assert "May the workshop spend this?" in told["show RUN"]
    assert "ordered frame" in told["answer RUN approve yes --resume"]


def test_the_graph_of_the_guide_is_sound_and_drawn(project: Path, command: Command) -> None:
    (project / "graphs" / "repairs.py").write_text(blocks("graphs.md", "python")[0])
    assert ["check", "repairs"] in commands("graphs.md")
    assert command("check", "repairs").out == "repairs: ok\n"
    assert "ticket" in command("draw", "repairs").out


@pytest.mark.real_model
def test_the_graph_of_the_guide_runs_on_the_embedded_model(project: Path, command: Command) -> None:
    (project / "graphs" / "repairs.py").write_text(blocks("graphs.md", "python")[0])
    (line,) = [arguments for arguments in commands("graphs.md") if arguments[0] == "run"]
    (row,) = command(*line, "--json").rows
    assert row["status"] in ("done", "waiting")
    assert set(row["steps"]) >= {"wish", "gist"}


# -- README.md -----------------------------------------------------------------------------------------------------------


def test_the_picture_of_the_support_desk_is_the_graph(command: Command) -> None:
    (picture,) = blocks("../README.md", "mermaid")
    assert picture.strip() == command("draw", "agentfleet.stock.graphs.support_desk:support_desk").out.strip()


# -- llms.txt ----------------------------------------------------------------------------------------------------------


def test_llms_txt_names_pages_that_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "llms.txt").read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
