"""From a name to a graph: the project's, a file's, a module's; every miss offers the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.project import Command


def test_a_name_is_a_file_in_graphs(command: Command) -> None:
    assert command("run", "triage", "-i", "mail=now").code == 0


def test_a_path_with_and_without_the_attribute(project: Path, command: Command) -> None:
    assert command("run", "graphs/triage.py", "-i", "mail=now").code == 0
    assert command("run", "graphs/triage.py:triage", "-i", "mail=now").code == 0
    assert command("run", "graphs/triage.py:ring", "-i", "mail=now").code == 0


def test_a_module_on_the_projects_root(project: Path, command: Command) -> None:
    (project / "own_module_of_find.py").write_text((project / "graphs" / "triage.py").read_text())
    assert command("run", "own_module_of_find:triage", "-i", "mail=now").code == 0


INNER_AND_OUTER = """\
from agentfleet import each, graph, step


@step
def longer(a: str) -> str:
    return a + "!"


@graph
def one(a: str) -> str:
    return longer(a)


@graph
def all_of_them(many: list[str]) -> list[str]:
    return each(one)(many)
"""


@pytest.mark.parametrize("name", ["file", "longer"])
def test_a_file_means_its_outermost_graph_not_a_step_of_its_name(name: str, project: Path, command: Command) -> None:
    (project / "graphs" / f"{name}.py").write_text(INNER_AND_OUTER)
    (row,) = command("run", name, "-i", 'many=["a", "b"]', "--json").rows
    assert (row["graph"], row["value"]) == ("all_of_them", ["a!", "b!"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("triagee", "did you mean 'triage'?"),
        ("graphs/triage.py:triagee", "has no graph or step 'triagee'; did you mean 'triage'?"),
        ("graphs/gone.py", "no such file"),
        ("gone_module:x", "no module 'gone_module' on the path"),
        ("graphs/several.py", "several graphs; write graphs/several.py:ATTR with one of one, two"),
        ("graphs/empty.py", "has no graph of its own"),
    ],
)
def test_a_miss_says_what_there_is(name: str, message: str, project: Path, command: Command) -> None:
    text = "from agentfleet import graph\n" + "".join(
        f"@graph\ndef {n}(a: str) -> str:\n    return a\n" for n in ("one", "two")
    )
    (project / "graphs" / "several.py").write_text(text)
    (project / "graphs" / "empty.py").write_text("")
    done = command("run", name, "-i", "mail=now")
    assert done.code == 2
    assert message in done.err


BROKEN = {
    "syntax": ("def f(:\n    pass\n", "broken.py:1: "),
    "import": ("import json\nimport no_such_package_at_all\n", "broken.py:2: import no_such_package_at_all"),
    "raises": ("x = {}\ny = x['missing']\n", "broken.py:2: y = x['missing']"),
    "graph": (
        "from agentfleet import graph, step\n@step\ndef a(x: str) -> bool:\n    return True\n"
        "@graph\ndef g(x: str) -> str:\n    if a(x):\n        return x\n    return 'no'\n",
        "broken.py:7: if a(x):",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_the_users_file_shows_the_users_line_and_no_frames(
    name: str, project: Path, command: Command
) -> None:
    text, message = BROKEN[name]
    (project / "graphs" / "broken.py").write_text(text)
    done = command("run", "graphs/broken.py", "-i", "x=1")
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert "importlib" not in done.err
