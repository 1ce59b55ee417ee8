"""Pulling from a hub on loopback: what is fetched, pinned and refused, and what is left behind when it goes wrong."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from backends.hub.pulling import BIG, FILE, REF, TOKEN, part, refused, weights
from servers.hub import HubServer, Repo, repo
from servers.weights import folder, gguf

from agentfleet.backends.hub.client import Hub
from agentfleet.backends.hub.pull import pull, wanted
from agentfleet.errors import (
    BackendError,
    MissingExtra,
    MissingKey,
    ModelFileError,
    Unavailable,
    UnknownName,
    UsageError,
)
from agentfleet.fleet.lock import load_lock

pytestmark = pytest.mark.server


# What is fetched -----------------------------------------------------------------------------------------------------


def test_a_file_is_fetched_checked_and_locked(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said: list[str] = []
    seen: list[tuple[str, int, int]] = []
    found = pull(REF, tmp_path, say=said.append, watch=lambda *told: seen.append(told))
    assert found.opened(tmp_path).read_bytes() == BIG
    assert (found.revision, found.asked, found.format, found.license) == ("1" * 40, "main", "Q8_0", "apache-2.0")
    assert load_lock(tmp_path).pulled == {REF: found}
    assert weights(tmp_path) == [FILE]
    assert (tmp_path / ".agentfleet" / "models" / ".gitignore").read_text() == "*\n"
    assert {seen.authorization for seen in hub.asked("GET", "/store/")} == {""}, "a store is given no token"
    assert {seen.authorization for seen in hub.asked("HEAD", "/resolve/")} == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN not in repr(Hub.from_environment()) + "".join(said)
    assert seen[-1] == (f"checking {FILE}", len(BIG), len(BIG)) and (FILE, len(BIG), len(BIG)) in seen


def test_a_folder_is_what_transformers_needs(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["o/m"] = repo(folder())
    found = pull("o/m", tmp_path)
    assert {file.name for file in found.files} == {
        "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"
    }  # fmt: skip
    assert (found.file, found.opened(tmp_path)) == ("", found.folder(tmp_path))
    assert found.template is not None
    assert hub.asked("GET", "pytorch_model.bin") == hub.asked("GET", "modeling_own.py") == []


def test_a_name_of_the_catalogue_is_its_repository(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["ggml-org/Qwen3-1.7B-GGUF"] = repo({"Qwen3-1.7B-Q4_K_M.gguf": gguf(), "Qwen3-1.7B-Q8_0.gguf": gguf()})
    found = pull("qwen3-1.7b:q8_0", tmp_path)
    assert (found.model, found.format, found.file) == ("Qwen3-1.7B", "Q8_0", "Qwen3-1.7B-Q8_0.gguf")
    assert pull("Qwen3-1.7B", tmp_path) == found, "the one that is here"
    assert wanted("ggml-org/Qwen3-1.7B-GGUF/Qwen3-1.7B-Q8_0.gguf").name == "Qwen3-1.7B"
    with pytest.raises(ModelFileError, match="knows no repository of granite-4.0-1b"):
        wanted("granite-4.0-1b:Q4_0")
    with pytest.raises(UnknownName, match="did you mean 'Qwen3-1.7B'"):
        wanted("Qwen3-1.7")


def test_what_is_here_asks_no_hub(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path)
    hub.seen.clear()
    assert pull(REF, tmp_path) == pull(f"{REF}@main", tmp_path) == pull(f"{REF}@1111111", tmp_path) == found
    assert hub.seen == []


# What broke off ------------------------------------------------------------------------------------------------------


def test_a_pull_goes_on_where_it_broke_off(hub: HubServer, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(BIG[: 2**20])
    found = pull(REF, tmp_path)
    assert [seen.range for seen in hub.asked("GET", "/store/")] == [f"bytes={2**20}-"]
    assert found.opened(tmp_path).read_bytes() == BIG


@pytest.mark.parametrize("rest", [BIG, BIG + b"more"])
def test_what_is_all_there_is_only_checked_and_what_is_too_long_is_fetched_anew(
    hub: HubServer, tmp_path: Path, rest: bytes
) -> None:
    part(tmp_path).write_bytes(rest)
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG
    assert len(hub.asked("GET", "/store/")) == (rest != BIG)


def test_another_s_first_half_is_found_out_and_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(b"x" * 2**20)
    refused(tmp_path, REF, ModelFileError, "not what was published.* run the command again")
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


def test_a_server_without_ranges_gives_all_of_it(hub: HubServer, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(b"x" * 2**20)
    hub.no_ranges = True
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


def test_a_connection_that_breaks_is_made_again(hub: HubServer, tmp_path: Path) -> None:
    hub.cut_after = 2**20
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG
    assert len(hub.asked("GET", "/store/")) == 2


def test_files_that_were_not_locked_yet_are_taken_if_they_are_right(hub: HubServer, tmp_path: Path) -> None:
    whole = part(tmp_path).with_name(FILE)
    whole.write_bytes(BIG)
    pull(REF, tmp_path)
    assert hub.asked("GET", "/store/") == []
    (tmp_path / "agentfleet.lock").unlink()
    whole.write_bytes(b"y" * len(BIG))
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


# What is refused -----------------------------------------------------------------------------------------------------


def test_other_bytes_than_published(hub: HubServer, tmp_path: Path) -> None:
    hub.flipped.add(FILE)
    refused(tmp_path, REF, ModelFileError, "m-Q8_0.gguf is not what was published: hash .* It was removed")
    assert weights(tmp_path) == []


def test_fewer_bytes_than_published(hub: HubServer, tmp_path: Path) -> None:
    hub.short.add(FILE)
    refused(tmp_path, REF, BackendError, "gave less than it said")
    assert weights(tmp_path) == [f".{FILE}.part"]
    hub.short.clear()
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


def test_a_hub_that_tells_two_hashes(hub: HubServer, tmp_path: Path) -> None:
    hub.misses.add(FILE)
    refused(tmp_path, REF, ModelFileError, "not what was published")
    assert weights(tmp_path) == []


def test_a_file_that_is_not_what_its_name_says(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["o/m"] = repo({FILE: b"\x80\x04 pickled" * 3000})
    refused(tmp_path, REF, ModelFileError, "not a GGUF file")
    assert weights(tmp_path) == []


def test_code_of_a_repository_is_refused_before_its_weights(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["o/m"] = repo(folder(auto_map={"AutoModel": "modeling_own.Own"}))
    refused(tmp_path, "o/m", ModelFileError, "auto_map")
    assert hub.asked("GET", "/store/") == []


def test_pickles(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["o/m"] = repo({"config.json": b"{}", "pytorch_model.bin": b"PK" * 20_000})
    refused(tmp_path, "o/m", ModelFileError, "only pickles")
    refused(tmp_path, "o/m/pytorch_model.bin", UsageError, "can run code")
    assert hub.asked("GET", "/resolve/") == []


def test_a_file_named_to_lead_elsewhere(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["ggml-org/Qwen3-1.7B-GGUF"] = repo({"../../../evil-Q8_0.gguf": gguf()})
    refused(tmp_path, "Qwen3-1.7B:Q8_0", ModelFileError, "which no model's file may be")
    assert list(tmp_path.rglob("*.gguf")) == list(tmp_path.parent.glob("*.gguf")) == []


# Whom it asks --------------------------------------------------------------------------------------------------------


def test_an_overloaded_hub_is_asked_again(hub: HubServer, tmp_path: Path) -> None:
    hub.failing = [503, 500]
    assert pull(REF, tmp_path).file == FILE
    hub.failing = [503, 502, 504]
    refused(tmp_path, "o/m/m-Q4_0.gguf", Unavailable, r"answered 504 .*3 times.*run the command again")


def test_a_gated_repository_says_how_to_get_in(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = repo({FILE: BIG}, gated=TOKEN)
    told = refused(tmp_path, REF, MissingKey, "o/m is gated. Accept its terms at http.*/o/m, .*HF_TOKEN")
    assert "it is not set" in told
    assert not (tmp_path / ".agentfleet" / "models" / "o--m").exists(), "nothing was fetched, so nothing lies there"
    monkeypatch.setenv("HF_TOKEN", "hf_another_0123456789")
    told = refused(tmp_path, REF, MissingKey, "its account has no access")
    assert "hf_another" not in told
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("o/gone/x.gguf", MissingKey, "shows no o/gone: there is none of that name, or it is private"),
        (f"{REF}@v9", UnknownName, "has no o/m at v9"),
        ("o/m/m-Q8.gguf", UnknownName, "did you mean 'm-Q8_0.gguf'"),
        ("o/m", ModelFileError, "no safetensors; it has GGUF files"),
    ],
)
def test_what_a_hub_does_not_have(hub: HubServer, tmp_path: Path, text: str, error: Any, message: str) -> None:
    refused(tmp_path, text, error, message)


def test_what_is_no_hub(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.failing = [200]
    refused(tmp_path, REF, BackendError, "does not answer as a hub does.*HF_ENDPOINT")
    hub.repos["o/m"] = Repo({"main": {FILE: BIG}})  # a commit that is no commit
    refused(tmp_path, REF, BackendError, "names no commit")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(tmp_path, REF, Unavailable, "127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize("place", ["huggingface.co", "ftp://hub", "https://", "https://me:secret-9876@hub.example"])
def test_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", place)
    assert "secret" not in refused(tmp_path, REF, UsageError, "HF_ENDPOINT is https://HOST")


def test_offline_says_what_is_missing(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pull(REF, tmp_path)
    hub.seen.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(REF, tmp_path) == found
    found.opened(tmp_path).unlink()
    refused(tmp_path, REF, Unavailable, f"offline .* not here: {FILE}")
    refused(tmp_path, "o/m/m-Q4_0.gguf", Unavailable, "not here: hub:o/m/m-Q4_0.gguf")
    assert hub.seen == []


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils.logging", None)
    refused(tmp_path, REF, MissingExtra, r"agentfleet\[hub\]")


# The disk ------------------------------------------------------------------------------------------------------------


def test_no_room_is_told_before_anything_is_fetched(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=100 * 10**6 + 1))
    refused(tmp_path, REF, ModelFileError, "no room in .*3 MB are to come, and 100 MB are free")
    assert hub.asked("GET", "/store/") == []


def test_a_disk_that_is_full_meanwhile_is_told(hub: HubServer, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    part(tmp_path).symlink_to("/dev/full")
    refused(tmp_path, REF, ModelFileError, "the disk is full.*run the command again to go on")


def test_two_do_not_write_one_file(hub: HubServer, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(part(tmp_path).with_name(".lock")):
        refused(tmp_path, REF, ModelFileError, "another process is fetching")
        assert part(tmp_path).with_name(".lock").exists(), "the other one still holds it"


def test_a_link_out_of_the_models_folder_is_not_followed(hub: HubServer, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / ".agentfleet" / "models").mkdir(parents=True)
    other.mkdir()
    (home / ".agentfleet" / "models" / "o--m").symlink_to(other)
    refused(home, REF, ModelFileError, "leads out of")
    assert not list(other.rglob("*.gguf"))
