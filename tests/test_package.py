"""The package's own papers agree: extras, constraints, the reasons for dependencies, and what the wheel maps in."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
_UNPINNED = {"transformers", "postgres", "all"}
"""Extras that the tests do not install."""


def names(requirements: list[str]) -> set[str]:
    """The packages of requirements, without versions and without our own extras."""
    found = {re.split(r"[\[<>=! ]", text)[0].lower() for text in requirements}
    return found - {"agentfleet"}


def pins() -> dict[str, str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_every_dependency_has_its_reason(extra: str) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = {word for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for word in row.split(", ")}
    assert names(EXTRAS[extra] if extra else PROJECT["dependencies"]) <= rows


@pytest.mark.parametrize("extra", ["", *(e for e in EXTRAS if e not in _UNPINNED)])
def test_every_dependency_that_the_tests_install_is_pinned(extra: str) -> None:
    assert names(EXTRAS[extra] if extra else PROJECT["dependencies"]) <= set(pins())


def test_pins_are_sorted_and_only_one_extra_asks_for_torch() -> None:
    assert list(pins()) == sorted(pins())
    asking = {extra for extra in EXTRAS if {"torch", "accelerate", "transformers"} & set(names(EXTRAS[extra]))}
    assert asking == {"transformers"}


def test_what_the_wheel_maps_in_exists() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    mapped = data["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(mapped.values()) >= {"agentfleet/stock/skills", "agentfleet/stock/graphs"}
    assert all((ROOT / source).exists() for source in mapped)
    assert (ROOT / "agentfleet" / "py.typed").is_file()
    assert list((ROOT / "agentfleet" / "ledger" / "migrations").glob("*.sql"))


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    sizes = {path.name: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "agentfleet").rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_floor_1_brings_no_floor_above_it() -> None:
    code = (
        "import sys, agentfleet.graph.step, agentfleet.fleet.config, agentfleet.ledger.sqlite\n"
        "above = ('runtime', 'routing', 'backends', 'cli', 'testing')\n"
        "print([name for name in sys.modules if name.startswith(tuple(f'agentfleet.{room}' for room in above))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
