"""The project and the way to run commands in it are those of the command line's tests."""

from cli.conftest import command, project

__all__ = ["command", "project"]
