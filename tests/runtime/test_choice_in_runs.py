"""Runs against two real servers of one tier: what was seen of them decides who is asked next, and rules hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servers.protocol import ProtocolServer, good, slow

from agentfleet import Fleet, Model, Session, ask, summarise
from agentfleet.fleet.rules import Rule, Then, When
from agentfleet.ledger.open import open_ledger

pytestmark = pytest.mark.server


@summarise(tier="large")
def gist(text: str) -> str:
    """Sum up."""
    return ask(text)


def session(
    folder: Path, servers: dict[str, ProtocolServer], rules: list[Rule], best: str = "", **more: Any
) -> Session:
    """`best`: the one that is asked first, all else being equal."""
    models = [
        Model(name=name, backend="openai", model="m", tier="large", base_url=server.base_url,
              quality={"summarise": 0.9 if name == best else 0.1}, **more)
        for name, server in servers.items()
    ]  # fmt: skip
    return Session(Fleet(models, rules=rules), open_ledger(":memory:", folder), folder)


def asked(opened: Session, texts: list[str], step: Any = gist) -> list[str]:
    runs = [opened.run(step, {"text": text}) for text in texts]
    assert [run.status for run in runs] == ["done"] * len(texts)
    return [run.attempts[-1][1].model for run in runs]


def test_each_is_tried_once_and_then_the_faster_one_is_asked(tmp_path: Path) -> None:
    with ProtocolServer(slow(1.5, "A parcel is late.")) as late, ProtocolServer(good("A parcel is late.")) as quick:
        opened = session(tmp_path, {"late": late, "quick": quick}, [])
        fastest = gist.using(objective="fastest")
        assert asked(opened, ["one", "two", "three", "four", "five"], fastest) == ["late"] + ["quick"] * 4
        assert (len(late.seen), len(quick.seen)) == (1, 4)
        opened.close()


def test_rules_of_the_fleet_hold_in_runs(tmp_path: Path) -> None:
    rules = [
        Rule(name="German", when=When(language="de"), then=Then(model="b")),
        Rule(name="sums", when=When(signals="numbers"), then=Then(avoid="a")),
    ]
    with ProtocolServer(good("So it is.")) as one, ProtocolServer(good("So it is.")) as other:
        opened = session(tmp_path, {"a": one, "b": other}, rules, "a")
        texts = ["Wo ist das Paket, und wer hat es?", "1 2 3 4 5 6 7 is a sum", "Where is the parcel?"]
        assert asked(opened, texts) == ["b", "b", "a"]
        run = opened.run(gist, {"text": texts[1]})
        skipped = [one for _, one in run.attempts if one.outcome.value == "skipped"]
        assert [(one.model, one.problem) for one in skipped] == [("a", "rule: a is left out (sums)")]
        assert opened.dispatcher.watch.busy == {"a": 0, "b": 0}
        opened.close()


def test_many_at_once_are_spread_by_who_stands_where(tmp_path: Path) -> None:
    with ProtocolServer(slow(0.2, "So it is.")) as one, ProtocolServer(slow(0.2, "So it is.")) as other:
        opened = session(tmp_path, {"a": one, "b": other}, [], concurrency=1)
        asked(opened, ["warm", "up"])
        runs = opened.run_many(gist, [{"text": str(n)} for n in range(8)], 8, lambda index, run: None)
        assert [run.status for run in runs if run is not None] == ["done"] * 8
        assert len(one.seen) > 1 and len(other.seen) > 1
        assert len(one.seen) + len(other.seen) == 10
        opened.close()
