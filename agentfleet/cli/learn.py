"""``agentfleet learn``: train from examples, and say how good the result is before it is used."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, app
from agentfleet.cli.find import find_graph
from agentfleet.errors import UnknownName, nearest
from agentfleet.fleet.config import project_root

if TYPE_CHECKING:
    from agentfleet.learn.head import HeadReport

learn_app = typer.Typer(help="Learn from examples.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(learn_app, name="learn")

_SHOWN = 5


@learn_app.callback()
def learn() -> None:
    """Learn from examples."""


@learn_app.command("head")
def head(
    skill: Annotated[str, typer.Argument(help="A skill's name, FILE.py:NAME or MODULE:NAME.")],
    data: Annotated[Path | None, typer.Option("--data", help="More examples: JSON lines as in examples.jsonl.")] = None,
    as_json: Json = False,
) -> None:
    """Train the head of a classify skill, judge it on held-out folds, and put it where runs look for it.

    Examples:

      agentfleet learn head intent

      agentfleet learn head skills/topic/skill.py:topic --data corrected.jsonl
    """
    from agentfleet.learn.head import learn_head

    root = project_root()
    report = learn_head(find_skill(skill, root), root / ".agentfleet" / "heads", data)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        show(report)


def find_skill(name: str, root: Path) -> Any:
    """The skill of the project's or the stock's folder ``skills``, or FILE.py:NAME, MODULE:NAME. Raises UnknownName."""
    if ":" in name or name.endswith(".py"):
        return find_graph(name, root)
    stock = Path(importlib.import_module("agentfleet.stock.skills").__path__[0])
    for folder, module in ((root / "skills", ""), (stock, f"agentfleet.stock.skills.{name}.skill")):
        if (folder / name / "skill.py").is_file():
            return find_graph(f"{module or folder / name / 'skill.py'}:{name}", root)
    known = {file.parent.name for folder in (root / "skills", stock) for file in folder.glob("*/skill.py")}
    raise UnknownName(f"no skill {name!r} in {root / 'skills'} or in the stock{nearest(name, known)}")


def show(report: HeadReport) -> None:
    """For people: how often right, how often it would answer, what it takes for what."""
    out = render.console()
    low, high = report.interval
    out.print(f"{render.safe(report.skill)}: a head of {report.examples} examples, judged on held-out folds of them")
    out.print(f"  right      {report.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%})")
    floor = "always (no min_confidence)" if report.floor is None else f"at confidence {report.floor:g} or more"
    wrong = "" if report.wrong is None else f", {report.wrong:.1%} of them wrong"
    out.print(f"  answers    {report.answered:.1%} {floor}{wrong}")
    out.print(f"  features   words, characters, marks{', ' + report.vectors if report.vectors else ''}")
    for one in report.confusions[:_SHOWN]:
        out.print(
            f"  confuses   {render.safe(one.was)} was taken for {render.safe(one.said)}: {one.times} times, "
            f"{one.answered} of them answered"
        )
    out.print(f"  stored in  {render.safe(str(report.path))}.json")
