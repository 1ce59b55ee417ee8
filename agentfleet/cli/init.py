"""``agentfleet init``: a small project that runs at once, made of a stock graph and the skills it uses."""

from __future__ import annotations

import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, app
from agentfleet.cli.find import stock_example, stock_names
from agentfleet.errors import UnknownName, UsageError, nearest

_IMPORT = re.compile(r"agentfleet\.stock\.(skills|graphs)\b")
_SKILL = re.compile(r"agentfleet\.stock\.skills\.(\w+)")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")

FLEET = """\
# The models that this project may use, from the smallest tier to the greatest:
# nano < small < large < frontier; a person is always the last.
# The embedded SmolLM2 stands in nano and small without being named here (embedded = false removes it).

# [[models]]
# name = "qwen"                                # any OpenAI-compatible server
# backend = "openai"
# model = "qwen2.5:7b"
# base_url = "http://127.0.0.1:11434/v1"
# tier = "large"

# [[models]]
# name = "claude"
# backend = "anthropic"
# model = "MODEL"
# tier = "frontier"
# key = "env:ANTHROPIC_API_KEY"                # a reference, never the key itself
"""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where; it is made when it is not there.")] = Path(),
    graph: Annotated[
        str, typer.Option("--graph", metavar="NAME", help="The stock graph to start from.")
    ] = "support_desk",
    as_json: Json = False,
) -> None:
    """Begin a project.

    Examples:

      agentfleet init desk

      agentfleet init . --graph approval
    """
    names = stock_names()
    if graph not in names:
        raise UnknownName(f"no stock graph {graph!r}{nearest(graph, names)}")
    there = [path for path in (folder / "agentfleet.toml", folder / "graphs" / f"{graph}.py") if path.exists()]
    if there:
        raise UsageError(f"{there[0]} is there already; nothing was written")
    try:
        _copy(graph, folder)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror or error}") from None
    first = _first_command(graph, folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "graph": graph, "next": first}))
        return
    out = render.console()
    out.print(f"made {folder / 'agentfleet.toml'}, graphs/{graph}.py and its skills")
    out.print(f"now: {first}" if folder.resolve() == Path.cwd() else f"now: cd {folder} && {first}")


def _copy(graph: str, folder: Path) -> None:
    stock = Path(import_module("agentfleet.stock.graphs").__path__[0])
    skills = Path(import_module("agentfleet.stock.skills").__path__[0])
    text = (stock / f"{graph}.py").read_text(encoding="utf-8")
    (folder / "graphs").mkdir(parents=True, exist_ok=True)
    for name in _needed(text, skills):
        target = folder / "skills" / name
        shutil.copytree(skills / name, target, ignore=_IGNORED, dirs_exist_ok=True)
        for file in target.rglob("*.py"):
            file.write_text(_IMPORT.sub(r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")
    for package in (folder / "graphs", folder / "skills"):
        if package.is_dir():
            (package / "__init__.py").touch()
    (folder / "graphs" / f"{graph}.py").write_text(_IMPORT.sub(r"\1", text), encoding="utf-8")
    (folder / "agentfleet.toml").write_text(FLEET + _found_here(), encoding="utf-8")
    _samples(graph, folder)


def _found_here() -> str:
    """Model servers that run on this machine now, as tables that are commented out: offered, not used."""
    from agentfleet.fleet.discover import discover, snippet

    text = ""
    for server in discover():
        if server.models:
            lines = "".join(f"# {line}".rstrip() + "\n" for line in snippet(server).splitlines())
            text += f"\n# Found running here: {server.kind}. Take the # away to use it.\n{lines}"
    return text


def _needed(text: str, skills: Path) -> list[str]:
    """The skills that a graph imports, and those that these import."""
    found: dict[str, None] = {}
    stack = list(_SKILL.findall(text))
    while stack:
        name = stack.pop(0)
        if name not in found and (skills / name).is_dir():
            found[name] = None
            for file in (skills / name).rglob("*.py"):
                stack += _SKILL.findall(file.read_text(encoding="utf-8"))
    return list(found)


def _samples(graph: str, folder: Path) -> None:
    """The first mails of the sample inbox, for the support desk."""
    source = stock_example("inbox.jsonl")
    if graph != "support_desk" or source is None:
        return
    (folder / "examples").mkdir(exist_ok=True)
    for name in ("inbox.jsonl", "inbox.gold.jsonl"):
        lines = (source.parent / name).read_text(encoding="utf-8").split("\n")[:8]
        (folder / "examples" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _first_command(graph: str, folder: Path) -> str:
    if (folder / "examples" / "inbox.jsonl").exists():
        return f"agentfleet run {graph} --inputs examples/inbox.jsonl"
    return f"agentfleet draw {graph}"
