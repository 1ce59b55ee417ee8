"""A pulled model is opened only as the lock knows it: bytes, revision, chat template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers.weights import folder, gguf

from agentfleet.backends.hub.inspect import template_of
from agentfleet.backends.hub.verify import is_verified, pulled_weights, stamp_pulled, verify_all
from agentfleet.backends.llama_cpp import weights_at
from agentfleet.errors import ModelFileError, UnknownName
from agentfleet.fleet.lock import load_lock, save_lock, sha256_of
from agentfleet.fleet.model import Model
from agentfleet.fleet.pulled import Pulled, folder_of
from agentfleet.routing.open import open_backend

REF = "hub:o/m/m-Q8_0.gguf"
Put = Callable[..., Pulled]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts files where a pull would, and locks them. The project is the working directory."""
    (tmp_path / "agentfleet.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    def make(files: dict[str, bytes], file: str = "", **more: Any) -> Pulled:
        home = folder_of(tmp_path, "o/m", "1" * 40)
        home.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (home / name).write_bytes(data)
        rows = [{"name": name, "sha256": sha256_of(home / name), "bytes": len(data)} for name, data in files.items()]
        fields = {"repo": "o/m", "revision": "1" * 40, "file": file, "files": rows}
        entry = Pulled(**{**fields, "template": template_of(home / file if file else home), **more})
        save_lock(load_lock(tmp_path).with_pulled(entry))
        return entry

    return make


def one(put: Put, **more: Any) -> Pulled:
    return put({"m-Q8_0.gguf": gguf()}, "m-Q8_0.gguf", model="Qwen3-1.7B", format="Q8_0", **more)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [REF, f"{REF}@1111111", "Qwen3-1.7B", "qwen3-1.7b:q8_0"])
def test_a_pulled_model_is_opened_by_its_names(put: Put, tmp_path: Path, place: str) -> None:
    entry = one(put)
    assert weights_at(place) == entry.opened(tmp_path)
    backend = open_backend(Model(name="m", backend="llama_cpp", model=place, context=1024))
    assert backend.context == 1024


def test_a_folder_is_opened_whole(put: Put, tmp_path: Path) -> None:
    entry = put(
        {name: data for name, data in folder().items() if "/" not in name and name.endswith((".json", "tensors"))}
    )
    assert weights_at("hub:o/m") == entry.folder(tmp_path)
    flip(entry.folder(tmp_path) / "config.json")
    with pytest.raises(ModelFileError, match="config.json is not the file"):
        weights_at("hub:o/m")


def test_what_is_not_pulled_names_the_command(put: Put) -> None:
    for place in ("hub:o/other/x.gguf", "Qwen3-1.7B:Q8_0"):
        with pytest.raises(ModelFileError, match=f"Run: agentfleet models pull {place.removeprefix('hub:')}"):
            open_backend(Model(name="m", backend="llama_cpp", model=place))
    with pytest.raises(ModelFileError, match="Run: agentfleet models pull o/other"):
        open_backend(Model(name="m", backend="transformers", model="hub:o/other"))


def test_a_changed_file_is_refused_when_it_is_opened(put: Put, tmp_path: Path) -> None:
    flip(one(put).opened(tmp_path))
    with pytest.raises(ModelFileError, match="sha256 .* run `agentfleet models pull o/m/m-Q8_0.gguf`"):
        open_backend(Model(name="m", backend="llama_cpp", model=REF))


def test_a_changed_template_is_refused_when_it_is_opened(put: Put) -> None:
    one(put, template="0" * 64)
    with pytest.raises(ModelFileError, match="chat template of o/m/m-Q8_0.gguf"):
        open_backend(Model(name="m", backend="llama_cpp", model=REF))


def test_a_moved_revision_is_refused_when_it_is_opened(put: Put, tmp_path: Path) -> None:
    entry = one(put)
    with pytest.raises(ModelFileError, match="asks for .*@2222222"):
        weights_at(f"{REF}@2222222")
    save_lock(load_lock(tmp_path).with_pulled(entry.model_copy(update={"revision": "2" * 40})))
    with pytest.raises(ModelFileError, match="at revision 222222222222 is not here"):
        weights_at(REF)


def test_a_path_to_a_pulled_file_is_checked_too(put: Put, tmp_path: Path) -> None:
    path = one(put).opened(tmp_path)
    flip(path)
    with pytest.raises(ModelFileError, match="sha256"):
        open_backend(Model(name="m", backend="llama_cpp", model=str(path)))


def states(home: Path, name: str = "", load: bool = False) -> dict[str, str]:
    return {found.path.name: found.state for found in verify_all(load_lock(home), name, load)}


def test_verify_tells_what_became_of_each_file(put: Put, tmp_path: Path) -> None:
    entry = one(put)
    assert states(tmp_path) == states(tmp_path, "Qwen3-1.7B") == {"m-Q8_0.gguf": "ok"}
    flip(entry.opened(tmp_path))
    assert states(tmp_path) == {"m-Q8_0.gguf": "changed"}
    entry.opened(tmp_path).unlink()
    (found,) = verify_all(load_lock(tmp_path), "o/m/m-Q8_0.gguf")
    assert (found.state, found.why[-42:]) == ("missing", "Run: agentfleet models pull o/m/m-Q8_0.gguf"[-42:])
    with pytest.raises(UnknownName, match="has no model 'gone'"):
        states(tmp_path, "gone")


def test_verify_sees_a_changed_template(put: Put, tmp_path: Path) -> None:
    one(put, template="0" * 64)
    (found,) = verify_all(load_lock(tmp_path))
    assert found.state == "changed" and "chat template" in found.why


def test_verify_looks_at_a_folder_s_files_and_template(put: Put, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"no such thing", "tokenizer_config.json": b"{}"}
    put(files, template="0" * 64)
    assert states(tmp_path) == {
        "config.json": "changed", "model.safetensors": "damaged", "tokenizer_config.json": "ok"
    }  # fmt: skip


@pytest.mark.real_model
def test_verify_loads_in_a_process_of_its_own(put: Put, tmp_path: Path) -> None:
    from agentfleet.backends.llama_cpp import embedded_path

    one(put)
    assert states(tmp_path, load=False) == {"m-Q8_0.gguf": "ok"}
    (found,) = verify_all(load_lock(tmp_path), load=True)
    assert (found.state, bool(found.why)) == ("damaged", True), "it has a header, and nothing that can be loaded"
    put({"smol-Q4_1.gguf": embedded_path().read_bytes()}, "smol-Q4_1.gguf")
    assert states(tmp_path, "smol-Q4_1.gguf", load=True) == {"smol-Q4_1.gguf": "ok"}


def test_a_list_knows_what_was_verified_without_reading_it(put: Put, tmp_path: Path) -> None:
    entry = one(put)
    assert not is_verified(entry, tmp_path)
    stamp_pulled(entry, tmp_path)
    assert is_verified(entry, tmp_path)
    flip(entry.opened(tmp_path))
    assert not is_verified(entry, tmp_path)
    assert states(tmp_path) == {"m-Q8_0.gguf": "changed"} and not is_verified(entry, tmp_path)
    flip(entry.opened(tmp_path))
    assert states(tmp_path) == {"m-Q8_0.gguf": "ok"} and is_verified(entry, tmp_path)
    (tmp_path / ".agentfleet" / "models" / ".verified.json").write_text("[")
    assert not is_verified(entry, tmp_path)


def test_a_stamp_opens_nothing(put: Put, tmp_path: Path) -> None:
    entry = one(put)
    flip(entry.opened(tmp_path))
    stamp_pulled(entry, tmp_path)
    with pytest.raises(ModelFileError, match="sha256"):
        pulled_weights(REF)
