"""The entry point of ``agentfleet``: registers the commands, turns errors into exit codes.

Exit 0: all done or waiting. 1: some failed. 2: the command cannot be carried out. 130: Ctrl-C. 141: its reader has gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO, TextIOWrapper

import typer

from agentfleet.cli import (
    answer,
    check,
    doctor,
    draw,
    fleet,
    init,
    learn,
    models,
    resume,
    route,
    run,
    runs,
    serve,
    show,
)
from agentfleet.cli.app import app, show_error, state

__all__ = ["app", "main"]

_COMMANDS = (init, run, runs, show, resume, answer, check, draw, fleet, models, serve, route, learn, doctor)
READER_GONE = 141
"""What a shell reports of a program that SIGPIPE ended, as ``| head`` does."""


def main() -> None:
    """Run the command of ``sys.argv`` and exit."""
    _steady_streams()
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _failed(error)
        _drop_output()
    sys.exit(code)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    words = [word for word in arguments if word != "--debug"]
    state.debug = len(words) < len(arguments)  # wherever it stands: one adds it to the command that went wrong
    command = typer.main.get_command(app)
    try:
        code = command.main(words, prog_name="agentfleet", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer ends by itself when the reader has gone
            return _reader_gone()
        show_error(error)  # the user's file ended the program while it was imported
        return 2
    except Exception as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        return _reader_gone()
    shown = getattr(error, "show", None)
    if shown is not None and hasattr(error, "exit_code"):
        shown()
        return int(error.exit_code)
    show_error(error)
    return 2


def _steady_streams() -> None:
    """Output never fails for a letter that the terminal cannot show, nor because a stream was closed from outside."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, StringIO())
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reader_gone() -> int:
    """Nothing is wrong, and nothing more can be written: what is still buffered goes nowhere."""
    _drop_output()
    return READER_GONE


def _drop_output() -> None:
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
