"""What looks like a secret of the environment is never in the ledger's files, wherever it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from agentfleet import Session, ask, classify, each, graph, step, summarise, when
from agentfleet.errors import Unavailable
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]
CANARY = 'sk-"canary"-\\4f2a9-not-to-be-written'
FORMS = [b"canary", b"4f2a9"]


@pytest.fixture(autouse=True)
def a_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SOMEBODYS_API_KEY", CANARY)
    yield


@summarise(tier="small")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@gist.check
def is_fine(value: str, text: str) -> None:
    if value.startswith("bad"):
        raise ValueError(f"{value} of {text} is bad")


@classify(tier="person")
def approve(text: str) -> Literal["yes", "no"]:
    """Yes?"""
    return ask(text)


@summarise(tier="person")
def free(text: str) -> str:
    """Free."""
    return ask(text)


@step(effect=True)
def raises(text: str) -> str:
    raise ValueError(f"no such thing: {text}")


@step
def same(text: str) -> str:
    return text


@graph
def everything(text: str) -> list[str]:
    kind = approve(gist(text))
    return [when(kind == "yes", free(text), otherwise="no"), same(text), raises(text)]


@graph
def without_failure(text: str) -> list[str]:
    return [free(text), *[same.using(name="x")(text)], gist(text)]


def written(folder: Path) -> bytes:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("ledger.sqlite") for path in files)
    return b"".join(path.read_bytes() for path in files)


def assert_clean(session: Session, folder: Path, shown: bytes) -> None:
    session.ledger.flush()
    found = written(folder)
    assert shown in found, "the run is there"
    for form in FORMS:
        assert form not in found


def test_nothing_of_a_run_that_fails_and_waits_holds_it(opened: Opened, tmp_path: Path) -> None:
    answers = {"gist": [f"bad {CANARY}", f"good {CANARY}"]}
    session, _ = opened(answers)
    run = session.run(everything, {"text": f"marker {CANARY}"})
    assert run.status == "failed"
    assert_clean(session, tmp_path, b"marker [secret]")


def test_nothing_of_errors_and_answers_holds_it(opened: Opened, tmp_path: Path) -> None:
    session, _ = opened({"gist": Unavailable(f"no such key: {CANARY}")})
    run = session.run(without_failure, {"text": f"marker {CANARY}"})
    assert {w.path for w in run.waiting} == {"free", "gist"}
    session.answer(run.id, "free", f"take {CANARY}")
    assert_clean(session, tmp_path, b"take [secret]")
    assert session.read(run.id).steps["free"].value == "take [secret]"


def test_nothing_of_lists_streams_and_results_holds_it(opened: Opened, tmp_path: Path) -> None:
    session, _ = opened({})

    async def listen() -> None:
        async for _ in session.stream(same, {"text": f"streamed {CANARY}"}):
            pass

    asyncio.run(listen())
    run = session.run(each(same), {"text": [f"marker {CANARY}", CANARY]})
    assert run.value == [f"marker {CANARY}", CANARY], "the value itself is the caller's"
    assert_clean(session, tmp_path, b"streamed [secret]")


def test_after_the_session_is_closed_the_files_are_clean(opened: Opened, tmp_path: Path) -> None:
    session, _ = opened({"gist": f"good {CANARY}"})
    session.run(gist, {"text": f"marker {CANARY}"})
    session.close()
    found = written(tmp_path)
    assert b"marker [secret]" in found and not any(form in found for form in FORMS)
