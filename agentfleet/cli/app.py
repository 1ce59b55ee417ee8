"""The typer application, and what all commands share: the fleet, the session, Ctrl-C, and how errors are shown."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentfleet.cli.render import console, safe
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.config import current_fleet, load_fleet, project_root, with_frontier
from agentfleet.fleet.model import Fleet

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


def _version(wanted: bool) -> None:
    if wanted:
        from agentfleet import __version__

        print(f"agentfleet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show whole tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Agent workflows that use the right model for each step."""
    state.debug = debug


def chosen_fleet(frontier: Sequence[str] | None = None, fleet: Path | None = None) -> Fleet:
    """The fleet of this command: ``--fleet``, else the project's; with ``--frontier`` models in its highest tier."""
    if fleet is None:
        return current_fleet(project_root(), frontier or ())
    return with_frontier(load_fleet(fleet), frontier or ())


@contextmanager
def opened(frontier: Sequence[str] | None = None, fleet: Path | None = None) -> Iterator[Session]:
    """A session for the project around the working directory; closed at the end."""
    from agentfleet.runtime.runner import use_session
    from agentfleet.runtime.session import Session

    session = Session(chosen_fleet(frontier, fleet), root=project_root())
    before = use_session(session)
    try:
        yield session
    except BaseException:
        # What went wrong is to be seen, not that runs were still going on when it did. Their leases pass.
        session.stop()
        with suppress(Exception):
            session.close()
        raise
    else:
        session.close()
    finally:
        use_session(before)


@contextmanager
def draining(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Within it the first Ctrl-C calls `stop`, which lets what is in flight end; the second ends the process at once.

    Yields a list that is no longer empty once Ctrl-C was pressed.
    """
    pressed: list[int] = []

    def pressing(number: int, frame: Any) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            os._exit(130)  # as safe as a kill: the ledger holds what was committed
        console(to_stderr=True).print("stopping: what is in flight ends first (Ctrl-C again stops at once)")
        stop()

    before = signal.signal(signal.SIGINT, pressing)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def show_error(error: BaseException) -> None:
    """One readable error on stderr; the user's file and line, no frames of the framework."""
    out = console(to_stderr=True)
    out.print(f"[red]error:[/] {safe(_message(error))}")
    frame = _users_frame(error.__cause__) or _users_frame(error)
    if frame:
        out.print(f"  at {safe(frame)}")
    for note in getattr(error, "__notes__", ()):
        out.print(f"  {safe(note)}")


def _message(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    text = str(error) or type(error).__name__
    return text if isinstance(error, AgentfleetError) else f"{type(error).__name__}: {text}"


def _users_frame(error: BaseException | None) -> str:
    """``file:line: code`` of the last frame that is neither ours nor a library's."""
    if error is None or error.__traceback__ is None:
        return ""
    foreign = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"), sys.prefix, "<")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(foreign)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename}:{last.lineno}: {(last.line or '').strip()}"
