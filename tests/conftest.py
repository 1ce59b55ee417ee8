"""For every test: skips are counted by reason, and one whose reason is not in tests/skips.toml fails the run."""

from __future__ import annotations

import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

_reasons: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _count(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _count(report)


def _count(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _reasons[reason.removeprefix("Skipped: ")] += 1


def allowed(path: Path) -> list[str]:
    """The patterns of skips.toml."""
    return [entry["reason"] for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("skip", [])]


def unnamed(path: Path) -> list[str]:
    """Reasons seen in this run that skips.toml does not name."""
    patterns = allowed(path)
    return [reason for reason in _reasons if not any(fnmatchcase(reason, pattern) for pattern in patterns)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if unnamed(session.config.rootpath / "tests" / "skips.toml") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.write_line(f"skipped: {sum(_reasons.values())}")
    for reason, count in _reasons.most_common():
        terminalreporter.write_line(f"  {count} × {reason}")
    for reason in unnamed(config.rootpath / "tests" / "skips.toml"):
        terminalreporter.write_line(f"  not in tests/skips.toml, so the run fails: {reason}", red=True)
