"""The entry point of ``agentfleet``: registers the commands, turns errors into exit codes.

Exit 0: all done or waiting. 1: some failed. 2: usage, configuration or input that cannot be worked with.
"""

from __future__ import annotations

import os
import sys

import typer

from agentfleet.cli import answer, check, doctor, draw, init, models, resume, run, runs, show
from agentfleet.cli.app import app, show_error, state
from agentfleet.errors import AgentfleetError

__all__ = ["app", "main"]

_COMMANDS = (init, run, runs, show, resume, answer, check, draw, models, doctor)


def main() -> None:
    """Run the command of ``sys.argv`` and exit."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="agentfleet", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    if state.debug:
        raise error
    shown = getattr(error, "show", None)
    if shown is not None and hasattr(error, "exit_code"):
        shown()
        return int(error.exit_code)
    if isinstance(error, BrokenPipeError):
        # The reader has gone (`| head`): nothing is wrong, and nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    show_error(error)
    return 2 if isinstance(error, (AgentfleetError, ImportError, SyntaxError)) else 1


if __name__ == "__main__":
    main()
