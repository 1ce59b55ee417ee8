"""What was found out about models: kept, read again, used only for the entry that was asked, refused when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentfleet.errors import FleetError
from agentfleet.fleet.model import Model
from agentfleet.fleet.probes import Probed, load_probes, probed_strategy, save_probe


def probed(**more: Any) -> Probed:
    given = {
        "backend": "openai",
        "model": "qwen",
        "base_url": "http://127.0.0.1:1/v1",
        "date": "2026-11-25",
        "identity": "x",
    }
    return Probed(**{**given, **more})


def entry(**more: Any) -> Model:
    return Model(**{"name": "q", "backend": "openai", "model": "qwen", "base_url": "http://127.0.0.1:1/v1", **more})


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    assert load_probes(tmp_path) == {}
    assert probed_strategy(entry(), tmp_path) is None


def test_what_is_kept_comes_back_and_is_replaced_by_name(tmp_path: Path) -> None:
    save_probe("q", probed(tools=True), tmp_path)
    save_probe("r", probed(), tmp_path)
    path = save_probe("q", probed(tools=False, strategies={"json": "followed"}), tmp_path)
    assert {name: found.tools for name, found in load_probes(tmp_path).items()} == {"q": False, "r": None}
    assert path == tmp_path / ".agentfleet" / "probes.json"
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert [file.name for file in sorted(path.parent.iterdir())] == [".gitignore", "probes.json"]


@pytest.mark.parametrize(
    ("strategies", "best"),
    [
        ({"native": "enforced", "tools": "enforced"}, "native"),
        ({"native": "ignored", "tools": "enforced", "json": "followed"}, "tools"),
        ({"native": "followed", "tools": "enforced"}, "tools"),
        ({"native": "failed: 400", "tools": "ignored", "json": "followed", "plain": "followed"}, "json"),
        ({"native": "ignored", "tools": "ignored", "json": "ignored", "plain": "ignored"}, None),
        ({}, None),
    ],
)
def test_the_best_way_is_one_that_is_enforced_else_one_that_was_followed(strategies: Any, best: str | None) -> None:
    assert probed(strategies=strategies).strategy == best


def test_another_entry_of_the_same_name_is_not_what_was_asked(tmp_path: Path) -> None:
    save_probe("q", probed(strategies={"tools": "enforced"}), tmp_path)
    assert probed_strategy(entry(), tmp_path) == "tools"
    assert probed_strategy(entry(model="other"), tmp_path) is None
    assert probed_strategy(entry(base_url="http://127.0.0.1:2/v1"), tmp_path) is None
    assert probed_strategy(entry(name="r"), tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"models": {"q": {"model": 1}}}', "\x00"])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / ".agentfleet").mkdir()
    (tmp_path / ".agentfleet" / "probes.json").write_text(text)
    with pytest.raises(FleetError, match=r"probes\.json is damaged; delete it"):
        load_probes(tmp_path)
