"""The chooser against simpler policies on simulated fleets: same requests, same times, seeded. No clock, no network."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "choice.py"
SEEDS = (7, 8, 9)


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_choice", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


choice = _loaded()
SCENES = choice.scenes()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_chooser_regrets_less_than_every_simpler_policy(scene: Any) -> None:
    sums = dict.fromkeys(choice.POLICIES, 0.0)
    for seed in SEEDS:
        for name, outcome in choice.compared(scene, 800, seed).items():
            sums[name] += outcome.regret
    ours = sums.pop("chooser")
    assert ours < min(sums.values()), sums


def test_regret_is_against_what_would_have_been_best() -> None:
    """One request, known by hand: the cheap model would be late, so the dear one is right and the cheap one costs the fine."""
    cheap, dear = choice.priced("cheap", 1.0, 1), choice.priced("dear", 10.0, 1)
    scene = choice.Scene("x", (choice.Served(cheap, 9.0), choice.Served(dear, 1.0)), 1.0, "cheapest", 4.0)
    asked = choice.Asked(0.0, 1000, (9.0, 1.0))
    right = choice.played(scene, [asked], lambda fleet, asked, number: 1)
    wrong = choice.played(scene, [asked], lambda fleet, asked, number: 0)
    assert (right.regret, right.late) == (0.0, 0.0)
    assert wrong.late == 1.0
    gap = choice.cost_of(cheap, 1000) + choice.FINE - choice.cost_of(dear, 1000)
    assert wrong.regret == pytest.approx(gap)


def test_who_waits_in_a_queue_takes_longer() -> None:
    one = choice.priced("one", 1.0, 1)
    scene = choice.Scene("x", (choice.Served(one, 2.0),), 1.0, "fastest", None)
    requests = [choice.Asked(0.0, 10, (2.0,)), choice.Asked(1.0, 10, (2.0,)), choice.Asked(9.0, 10, (2.0,))]
    assert choice.played(scene, requests, choice.round_robin).seconds == pytest.approx((2 + 3 + 2) / 3)


def test_the_same_seed_draws_the_same_requests() -> None:
    assert choice.drawn(SCENES[0], 50, 3) == choice.drawn(SCENES[0], 50, 3) != choice.drawn(SCENES[0], 50, 4)


def test_the_last_line_of_the_benchmark_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["choice.py", "--seeds", "1", "--requests", "40"])
    choice.main()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(last["regret"]) == [scene.name for scene in SCENES]
    assert set(last["regret"]["quiet"]) == set(choice.POLICIES)
