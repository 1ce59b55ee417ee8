"""agentfleet.lock: written whole, read strictly, and a file of weights that differs from it is refused."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.errors import FleetError, ModelFileError
from agentfleet.fleet import lock as locking
from agentfleet.fleet.lock import Lock, Locked, Measured, file_of, load_lock, place_of, preferred, save_lock, verify


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "agentfleet.toml").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m-Q4_1.gguf").write_bytes(b"GGUF original" * 1000)
    (tmp_path / "models" / "m-Q8_0.gguf").write_bytes(b"GGUF eight bits" * 1000)
    return tmp_path


def entry_of(home: Path, **more: Any) -> Locked:
    files = tuple(file_of(home / "models" / f"m-{name}.gguf", name, home) for name in ("Q4_1", "Q8_0"))
    row = Measured(format="Q8_0", prompt_ms=1.25, decode_ms=6.5, agrees=(9, 10), right=(5, 8))
    fields = {"original": "Q4_1", "chosen": "Q8_0", "objective": "fastest", "date": "2026-11-25T10:00:00+00:00"}
    return Locked(**{**fields, "threads": 2, "files": files, "measured": (row,), **more})


def locked(home: Path) -> Lock:
    save_lock(load_lock(home).with_model("m", entry_of(home)))
    return load_lock(home)


def test_what_was_written_is_read(home: Path) -> None:
    assert locked(home).models["m"] == entry_of(home)
    assert [name for name, _ in locked(home).files()] == ["m", "m"]
    assert "Q8_0" in (home / "agentfleet.lock").read_text()


@given(name=st.text(min_size=1).filter(lambda text: text.isprintable()), cases=st.text())
def test_any_name_and_text_survive(name: str, cases: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    cases = cases.encode("utf-8", "ignore").decode()  # half a character cannot be written at all
    folder = tmp_path_factory.mktemp("lock")
    row = {"format": "F16", "path": "a", "sha256": "0" * 64, "bytes": 1}
    fields = {"original": "F16", "chosen": "F16", "objective": "closest", "date": "", "threads": 1, "files": (row,)}
    lock = Lock(home=folder).with_model(name, Locked(**fields, cases=cases))
    save_lock(lock)
    assert load_lock(folder).models == lock.models


def test_no_lock_is_an_empty_lock(tmp_path: Path) -> None:
    assert load_lock(tmp_path).models == {}
    verify(tmp_path / "not even there", load_lock(tmp_path))


def test_other_models_stay(home: Path) -> None:
    lock = locked(home)
    save_lock(lock.with_model("other", entry_of(home, chosen="Q4_1")))
    assert load_lock(home).models["m"].chosen == "Q8_0"
    assert load_lock(home).models["other"].chosen == "Q4_1"


def test_the_right_files_pass(home: Path) -> None:
    lock = locked(home)
    for name in ("Q4_1", "Q8_0"):
        verify(home / "models" / f"m-{name}.gguf", lock)


def test_a_file_that_is_not_locked_passes(home: Path) -> None:
    (home / "models" / "new.gguf").write_bytes(b"anything")
    verify(home / "models" / "new.gguf", locked(home))


def test_one_flipped_bit_is_refused(home: Path) -> None:
    lock, path = locked(home), home / "models" / "m-Q8_0.gguf"
    verify(path, lock)
    data = bytearray(path.read_bytes())
    data[7777] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ModelFileError, match="not the file that .*agentfleet.lock knows for model 'm': sha256"
    ) as caught:
        verify(path, lock)
    assert "agentfleet models tune m" in str(caught.value)


def test_a_shorter_file_is_refused_unread(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, path = locked(home), home / "models" / "m-Q8_0.gguf"
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(locking, "sha256_of", lambda path: pytest.fail("it was read"))
    with pytest.raises(ModelFileError, match="14999 bytes instead of 15000"):
        verify(path, lock)


def test_a_link_to_a_locked_file_is_that_file(home: Path) -> None:
    lock, link = locked(home), home / "link.gguf"
    link.symlink_to(home / "models" / "m-Q8_0.gguf")
    (home / "models" / "m-Q8_0.gguf").write_bytes(b"x" * 15000)
    with pytest.raises(ModelFileError, match="sha256"):
        verify(link, lock)


def test_a_locked_file_that_is_gone_is_named(home: Path) -> None:
    lock = locked(home)
    (home / "models" / "m-Q8_0.gguf").unlink()
    with pytest.raises(ModelFileError, match="cannot read the model file"):
        verify(home / "models" / "m-Q8_0.gguf", lock)


def test_an_unchanged_file_is_read_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, path, read = locked(home), home / "models" / "m-Q8_0.gguf", []
    whole = locking.sha256_of
    monkeypatch.setattr(locking, "sha256_of", lambda path: read.append(path) or whole(path))
    verify(path, lock)
    verify(path, lock)
    assert len(read) == 1


def test_the_project_is_found_from_below(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked(home)
    (home / "deep").mkdir()
    monkeypatch.chdir(home / "deep")
    (home / "models" / "m-Q8_0.gguf").write_bytes(b"")
    with pytest.raises(ModelFileError):
        verify(home / "models" / "m-Q8_0.gguf")


def test_the_chosen_file_is_preferred(home: Path) -> None:
    original, chosen = home / "models" / "m-Q4_1.gguf", home / "models" / "m-Q8_0.gguf"
    lock = locked(home)
    assert preferred("m", original, lock) == (chosen, 2, None)
    assert preferred("m", original, lock.with_model("m", lock.models["m"].model_copy(update={"batch": 80})))[2] == 80
    assert preferred("other", original, lock) == (original, None, None)
    assert preferred("m", home / "models" / "else.gguf", lock) == (home / "models" / "else.gguf", None, None)


def test_a_chosen_file_that_is_gone_says_how_to_make_it(home: Path) -> None:
    lock = locked(home)
    (home / "models" / "m-Q8_0.gguf").unlink()
    with pytest.raises(ModelFileError, match="agentfleet models tune m"):
        preferred("m", home / "models" / "m-Q4_1.gguf", lock)


def test_a_moved_project_keeps_its_lock(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    locked(home)
    other = tmp_path_factory.mktemp("other") / "project"
    shutil.copytree(home, other)
    verify(other / "models" / "m-Q8_0.gguf", load_lock(other))
    (other / "models" / "m-Q8_0.gguf").write_bytes(b"")
    with pytest.raises(ModelFileError):
        verify(other / "models" / "m-Q8_0.gguf", load_lock(other))


def test_a_package_s_file_is_named_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "home" / ".venv" / "site-packages"
    (site / "some_weights").mkdir(parents=True)
    (site / "some_weights" / "__init__.py").write_text("")
    path = site / "some_weights" / "w.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    place = place_of(path, tmp_path / "home")
    assert place == "package:some_weights/w.gguf"
    assert locking.located(place, tmp_path) == path
    assert not locking.located("package:no_such_package_here/w.gguf", tmp_path).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2", "version 2 was written by another agentfleet"),
        ("version = 1\n[models.m]\nchosen = 'Q8_0'\n", "models.m.original"),
        ("[models", "damaged"),
        ("[models.m]\nfiles = 3\n", "models.m"),
        ("colour = 'red'", "colour"),
    ],
)
def test_a_wrong_lock_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "agentfleet.lock").write_text(text)
    with pytest.raises(FleetError, match=message) as caught:
        load_lock(tmp_path)
    assert str(tmp_path / "agentfleet.lock") in str(caught.value)


def test_a_lock_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agentfleet.lock").write_bytes(b"\xff\x00")
    with pytest.raises(FleetError, match="damaged"):
        load_lock(tmp_path)


def test_a_chosen_format_has_a_file(home: Path) -> None:
    with pytest.raises(ValueError, match="no file of the format 'Q4_0'"):
        entry_of(home, chosen="Q4_0")


def test_a_disk_that_is_full_leaves_the_old_lock(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = locked(home)
    before = (home / "agentfleet.lock").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_lock(lock.with_model("other", entry_of(home)))
    assert (home / "agentfleet.lock").read_bytes() == before
    assert [path.name for path in home.iterdir() if "lock" in path.name] == ["agentfleet.lock"]


def test_the_lock_is_plain_toml(home: Path) -> None:
    import tomllib

    locked(home)
    data = tomllib.loads((home / "agentfleet.lock").read_text())
    assert json.dumps(data)
    assert data["models"]["m"]["files"][1]["path"] == "models/m-Q8_0.gguf"
