"""Pulled models in the lock: what an entry may say, which name means which, and where its files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agentfleet.errors import FleetError, ModelFileError, UnknownName, UsageError
from agentfleet.fleet.config import load_fleet
from agentfleet.fleet.lock import load_lock, save_lock, verify
from agentfleet.fleet.pulled import Pulled, find_pulled, resolve

COMMIT = "a" * 40


def pulled(file: str = "m-Q8_0.gguf", **more: Any) -> Pulled:
    rows = ({"name": file, "sha256": "0" * 64, "bytes": 7},)
    return Pulled(**{"repo": "o/m", "revision": COMMIT, "file": file, "files": rows, **more})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    entry = pulled(model="Qwen3-1.7B", format="Q8_0", template="1" * 64)
    save_lock(load_lock(tmp_path).with_pulled(entry))
    assert load_lock(tmp_path).pulled == {"o/m/m-Q8_0.gguf": entry}
    assert load_lock(tmp_path).without_pulled(entry).pulled == {}
    (row,) = load_lock(tmp_path).files()
    assert row[1].path == ".agentfleet/models/o--m/aaaaaaaaaaaa/m-Q8_0.gguf"


@pytest.mark.parametrize(
    "change",
    [
        {"repo": "../m"},
        {"repo": "o--m/x"},
        {"revision": "main"},
        {"files": ({"name": "other.gguf", "sha256": "0" * 64, "bytes": 7},)},
        {"files": ()},
        {"files": ({"name": "../m.gguf", "sha256": "0" * 64, "bytes": 7},), "file": ""},
        {"files": tuple({"name": n, "sha256": "0" * 64, "bytes": 7} for n in ("a.json", "A.json")), "file": ""},
        {"path": "/etc/passwd"},
    ],
)
def test_an_entry_cannot_point_elsewhere(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        pulled(**change)


def test_an_entry_under_another_name_is_refused(tmp_path: Path) -> None:
    save_lock(load_lock(tmp_path).with_pulled(pulled()))
    path = tmp_path / "agentfleet.lock"
    path.write_text(
        path.read_text().replace('[pulled."o/m/m-Q8_0', '[pulled."o/m/n-Q8_0').replace("[[pulled", "[[pulled")
    )
    with pytest.raises(FleetError, match="pulled"):
        load_lock(tmp_path)


def test_one_model_has_several_names() -> None:
    one = pulled(model="Qwen3-1.7B", format="Q8_0")
    other = pulled("m-Q4_0.gguf", model="Qwen3-1.7B", format="Q4_0")
    known = {entry.key: entry for entry in (one, other)}
    for name in ("o/m/m-Q8_0.gguf", "hub:o/m/m-Q8_0.gguf", "m-Q8_0.gguf", "Qwen3-1.7B:Q8_0", "qwen3-1.7b:q8_0"):
        assert find_pulled(name, known) == one
    with pytest.raises(UsageError, match=r"o/m/m-Q4_0.gguf or o/m/m-Q8_0.gguf"):
        find_pulled("Qwen3-1.7B", known)
    with pytest.raises(UnknownName, match="did you mean 'o/m/m-Q8_0.gguf'"):
        find_pulled("o/m/m-Q8.gguf", known)
    with pytest.raises(UnknownName, match="none is pulled"):
        find_pulled("x", {})


def test_what_is_not_here_names_the_command(tmp_path: Path) -> None:
    entry = pulled()
    with pytest.raises(ModelFileError, match="not pulled. Run: agentfleet models pull Qwen3-1.7B:Q8_0"):
        resolve("Qwen3-1.7B:Q8_0", {entry.key: entry}, tmp_path)
    with pytest.raises(ModelFileError, match="agentfleet models pull o/other$"):
        resolve("hub:o/other", {entry.key: entry}, tmp_path)
    with pytest.raises(
        ModelFileError, match=r"m-Q8_0.gguf of .* is not here. Run: agentfleet models pull o/m/m-Q8_0.gguf"
    ):
        resolve("hub:o/m/m-Q8_0.gguf", {entry.key: entry}, tmp_path)


def test_a_revision_that_moved_is_refused(tmp_path: Path) -> None:
    entry = pulled(asked="main")
    entry.folder(tmp_path).mkdir(parents=True)
    entry.opened(tmp_path).write_bytes(b"weights")
    known = {entry.key: entry}
    for revision in ("", "@aaaaaaa", "@main"):
        assert resolve(f"hub:o/m/m-Q8_0.gguf{revision}", known, tmp_path) == entry
    for revision in ("bbbbbbb", "v2"):
        with pytest.raises(ModelFileError, match=f"has its revision {COMMIT}.*@{revision} --update"):
            resolve(f"hub:o/m/m-Q8_0.gguf@{revision}", known, tmp_path)
    moved = entry.model_copy(update={"revision": "b" * 40})
    with pytest.raises(ModelFileError, match="at revision bbbbbbbbbbbb is not here"):
        resolve("hub:o/m/m-Q8_0.gguf", {moved.key: moved}, tmp_path)


def test_other_bytes_are_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    entry = pulled()
    entry.folder(tmp_path).mkdir(parents=True)
    entry.opened(tmp_path).write_bytes(b"weights")
    with pytest.raises(ModelFileError, match="sha256 .*agentfleet models pull o/m/m-Q8_0.gguf"):
        verify(entry.opened(tmp_path), load_lock(tmp_path).with_pulled(entry))


def test_a_fleet_file_keeps_names_of_the_hub(tmp_path: Path) -> None:
    rows = [("a", "hub:o/m/m-Q8_0.gguf@abc"), ("b", "Qwen3-1.7B:Q8_0"), ("c", "w.gguf")]
    text = "".join(f'[[models]]\nname = "{name}"\nbackend = "llama_cpp"\nmodel = "{model}"\n' for name, model in rows)
    (tmp_path / "agentfleet.toml").write_text(text)
    found = {model.name: model.model for model in load_fleet(tmp_path / "agentfleet.toml").models}
    assert (found["a"], found["b"], found["c"]) == (rows[0][1], rows[1][1], str(tmp_path / "w.gguf"))
