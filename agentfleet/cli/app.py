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
from agentfleet.fleet.config import current_fleet, known_secrets, load_fleet, project_root, with_frontier
from agentfleet.fleet.model import Fleet
from agentfleet.runtime.redact import redacted_text

if TYPE_CHECKING:
    from agentfleet.ledger.ledger import Ledger
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

GraphName = Annotated[
    str, typer.Argument(metavar="GRAPH", help="NAME of the project or stock, path/file.py:attr, or module:attr.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run; its first letters will do.")]
Frontier = Annotated[
    list[str] | None,
    typer.Option("--frontier", metavar="PROVIDER:MODEL", help="A frontier model: anthropic:MODEL or openai:MODEL."),
]
FleetFile = Annotated[
    Path | None, typer.Option("--fleet", metavar="FILE", help="A fleet file other than the project's.")
]
AtOnce = Annotated[
    int | None,
    typer.Option("--at-once", min=1, metavar="N", help="Runs at a time; default 4, and 1 when all models run here."),
]
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
    debug: Annotated[bool, typer.Option("--debug", help="Show whole tracebacks; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Agent workflows that use the right model for each step."""
    # --debug was read by `invoke`, wherever it stood; it is named here for --help.


def chosen_fleet(frontier: Sequence[str] | None = None, fleet: Path | None = None) -> Fleet:
    """The fleet of this command: ``--fleet``, else the project's; with ``--frontier`` models in its highest tier.

    Raises FleetError, and MissingExtra for a model named with ``--frontier`` whose libraries are not here: elsewhere its
    rungs would be skipped, but who names a model wants it to be asked.
    """
    named = frontier or ()
    found = current_fleet(project_root(), named) if fleet is None else with_frontier(load_fleet(fleet), named)
    if named:
        from agentfleet.backends.instructed import require

        require("instructor", *sorted({text.partition(":")[0] for text in named}))
    return found


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
def reading() -> Iterator[Ledger]:
    """The project's ledger for commands that only look: nothing is made or changed, and no fleet is needed.

    One that is not there yet is empty.
    """
    from agentfleet.ledger.open import ledger_path, open_ledger

    root = project_root()
    path = ledger_path(None, root)
    there = path is not None and path.exists()
    ledger = open_ledger(None, root, readonly=True) if there else open_ledger(":memory:", root)
    try:
        yield ledger
    finally:
        ledger.close()


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


def show_error(error: BaseException, where: str = "") -> None:
    """One readable error on stderr; the user's file and line, no frames of the framework unless --debug asks for them.

    `where`: what it is about, if the message does not say so.
    """
    out = console(to_stderr=True)
    secrets = known_secrets()  # an exception of the user's own may quote one
    if state.debug:
        print(redacted_text("".join(traceback.format_exception(error)), secrets), file=sys.stderr)
    text = redacted_text(error_text(error), secrets)
    out.print(f"[red]error:[/] {safe(f'{where}: {text}' if where else text)}")
    frame = _users_frame(error.__cause__) or _users_frame(error)
    if frame:
        out.print(f"  at {safe(frame)}")
    for note in (*getattr(error, "__notes__", ()), *_hints(error)):
        out.print(f"  {safe(note)}")


def error_text(error: BaseException) -> str:
    """What is wrong, on one line, for people."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the output'}: {error.strerror}"
    text = str(error) or type(error).__name__
    return text if isinstance(error, AgentfleetError) else f"{type(error).__name__}: {text}"


def error_line(error: BaseException) -> str:
    """Error and place on one line, for a list."""
    frame = _users_frame(error)
    return f"{frame}: {error_text(error)}" if frame else error_text(error)


def _hints(error: BaseException) -> Iterator[str]:
    if isinstance(error, SyntaxError) and error.text:
        yield error.text.strip()
    if isinstance(error, ModuleNotFoundError) and not (error.name or "agentfleet").startswith("agentfleet"):
        yield f"it is not installed for {sys.executable}; install it there, or correct the import"


def _users_frame(error: BaseException | None) -> str:
    """``file:line: code`` of the last frame that is neither ours nor a library's."""
    if error is None or error.__traceback__ is None:
        return ""
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    foreign = (str(Path(__file__).parents[1]), "<", *libraries)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(foreign)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename}:{last.lineno}: {(last.line or '').strip()}"
