"""The fleet files in examples/fleets: each passes ``agentfleet fleet check`` and stands in docs/fleet.md as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentfleet.cli.fleet import price_text
from agentfleet.cli.main import invoke
from agentfleet.fleet.config import read_fleet
from agentfleet.routing.eligible import clearance

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "fleets").glob("*.toml"))


def test_the_three_are_there() -> None:
    assert [path.stem for path in FILES] == ["all-local", "local-and-anthropic", "local-and-server"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_passes_the_check(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ANTHROPIC_API_KEY", "HOUSE_KEY", "AGENTFLEET_FRONTIER"):
        monkeypatch.delenv(name, raising=False)
    assert invoke(["fleet", "check", "--fleet", str(path)]) == 0
    assert "no mistakes" in capsys.readouterr().out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_shows_the_file_as_it_is(path: Path) -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert f"```toml\n{path.read_text(encoding='utf-8')}```" in page


def test_what_the_page_says_of_places_and_prices_holds() -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for path in FILES:
        fleet, _ = read_fleet(path)
        assert fleet is not None
        for model in fleet.models:
            price = price_text(model).partition(" (")[0]
            assert f"| `{model.name}` | {model.place} | {clearance(model)} | {price} |" in rows


def test_what_a_mail_costs_on_the_page_follows_from_the_prices() -> None:
    """A step of 600 tokens read and 100 written, as the page counts it."""
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    for read, written, said in ((1, 5, "$0.0011"), (3, 15, "$0.0033"), (0.05, 0.1, "$0.00004")):
        assert float(said[1:]) == (600 * read + 100 * written) / 1e6
        assert said in page
