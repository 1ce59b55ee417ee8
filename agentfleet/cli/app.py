"""The typer application, and what all commands share: the session, and how errors are shown."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentfleet.cli.render import console, safe
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.config import current_fleet, load_fleet, project_root

if TYPE_CHECKING:
    from agentfleet.runtime.session import Session

app = typer.Typer(
    name="agentfleet",
    help="Agent workflows that use the right model for each step.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Frontier = Annotated[
    list[str] | None, typer.Option("--frontier", help="Name a frontier model: anthropic:MODEL or openai:MODEL.")
]
FleetFile = Annotated[Path | None, typer.Option("--fleet", help="A fleet file other than the project's.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@dataclass
class State:
    """What stands before the command."""

    debug: bool = False


state = State()


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show whole tracebacks.")] = False) -> None:
    """Agent workflows that use the right model for each step."""
    state.debug = debug


@contextmanager
def opened(frontier: Sequence[str] | None = None, fleet: Path | None = None) -> Iterator[Session]:
    """A session for the project around the working directory; closed at the end."""
    from agentfleet.runtime.runner import use_session
    from agentfleet.runtime.session import Session

    root = project_root()
    models = load_fleet(fleet) if fleet is not None else current_fleet(root)
    if frontier:
        from agentfleet.fleet.config import frontier_model

        models = models.with_models([frontier_model(text) for text in frontier])
    session = Session(models, root=root)
    before = use_session(session)
    try:
        yield session
    finally:
        use_session(before)
        session.close()


def show_error(error: BaseException) -> None:
    """One readable error on stderr; the user's file and line, no frames of the framework."""
    out = console(to_stderr=True)
    out.print(f"[red]error:[/] {safe(str(error) or type(error).__name__)}")
    cause = error.__cause__ if isinstance(error, AgentfleetError) else error
    frame = _users_frame(cause)
    if frame:
        out.print(f"  at {safe(frame)}")
    for note in getattr(error, "__notes__", ()):
        out.print(f"  {safe(note)}")


def _users_frame(error: BaseException | None) -> str:
    if error is None or error.__traceback__ is None:
        return ""
    inner = str(Path(__file__).parent.parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((inner, "<", sys.prefix))]
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename}:{last.lineno}: {(last.line or '').strip()}"
