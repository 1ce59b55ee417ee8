"""The process of aimock: it is gone after its block, and where it cannot be had a named skip says so."""

from __future__ import annotations

import socket
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers.aimock import CANNOT_FETCH, CANNOT_START, Aimock, NotHere, said

pytestmark = pytest.mark.server

SKIPS = Path(__file__).parents[1] / "skips.toml"


def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_it_listens_inside_its_block_and_no_longer(tmp_path: Path) -> None:
    try:
        with Aimock(tmp_path) as aimock:
            port = urlsplit(aimock.origin).port or 0
            assert listens(port)
            first, second = aimock.script(said("a")), aimock.script(said("b"))
            assert first != second and aimock.seen(first) == []
    except NotHere as reason:
        pytest.skip(str(reason))
    until(lambda: not listens(port))


def test_without_npx_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match=CANNOT_START), Aimock(tmp_path):
        pass


def test_without_a_registry_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(NotHere) as caught, Aimock(tmp_path):
        pass
    assert str(caught.value) in (CANNOT_FETCH, CANNOT_START)


def test_both_reasons_are_named_skips() -> None:
    named = [entry["reason"] for entry in tomllib.loads(SKIPS.read_text(encoding="utf-8"))["skip"]]
    assert {CANNOT_FETCH, CANNOT_START} <= set(named)
