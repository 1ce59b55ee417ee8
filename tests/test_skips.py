"""A skip is counted by reason, and fails the run when tests/skips.toml does not name the reason."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def run(folder: Path, reason: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own in `folder`, with our conftest and one test that skips."""
    inner = folder / "tests"
    inner.mkdir()
    for name in ("conftest.py", "skips.toml"):
        shutil.copy(TESTS / name, inner)
    body = f"import pytest\n\ndef test_one():\n    pass\n\ndef test_two():\n    pytest.skip({reason!r})\n"
    (inner / "test_inner.py").write_text(body, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(inner)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_named_skip_is_counted_and_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "needs root for a small tmpfs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped: 1\n  1 × needs root for a small tmpfs" in done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("1 passed, 1 skipped")


def test_an_unnamed_skip_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "felt like it")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not in tests/skips.toml, so the run fails: felt like it" in done.stdout
