"""The small project of the command line's tests serves these too."""

from __future__ import annotations

from cli.conftest import command, project

__all__ = ["command", "project"]
