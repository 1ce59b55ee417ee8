"""Pulling from a hub on loopback: what is fetched, pinned and refused, and what is left behind when it goes wrong."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.hub import HubServer, Repo, repo
from servers.weights import folder, gguf

from agentfleet.backends.hub import client
from agentfleet.backends.hub.client import Hub
from agentfleet.backends.hub.pull import pull, remove_files, wanted
from agentfleet.errors import (
    AgentfleetError,
    BackendError,
    MissingExtra,
    MissingKey,
    ModelFileError,
    Unavailable,
    UnknownName,
    UsageError,
)
from agentfleet.fleet.lock import load_lock, save_lock
from agentfleet.fleet.pulled import Pulled

pytestmark = pytest.mark.server
FILE, REF, TOKEN = "m-Q8_0.gguf", "o/m/m-Q8_0.gguf", "hf_canary_0123456789"
BIG = gguf(size=3 * 2**20)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "WAITS", (0.0, 0.0))
    with HubServer({"o/m": repo({FILE: BIG, "m-Q4_0.gguf": gguf("{{ other }}"), "README.md": b"m"})}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def refused(home: Path, text: str, error: type[AgentfleetError], message: str, **more: Any) -> str:
    """The message; and nothing is locked, and no file of weights lies there."""
    before = load_lock(home).pulled
    with pytest.raises(error, match=message) as caught:
        pull(text, home, **more)
    assert load_lock(home).pulled == before
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def weights(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file() and path.suffix in (".gguf", ".part"))


def part(home: Path, name: str = FILE) -> Path:
    path = home / ".agentfleet" / "models" / "o--m" / ("1" * 12) / f".{name}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


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


# What the lock knows -------------------------------------------------------------------------------------------------


def moved(hub: HubServer, **files: bytes) -> None:
    """The hub's main is another commit now."""
    hub.repos["o/m"].commits["2" * 40] = {FILE: gguf("{{ new }}", fill=b"n"), **files}
    hub.repos["o/m"].branches["main"] = "2" * 40


def test_what_is_locked_is_fetched_as_it_was(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path)
    moved(hub)
    shutil.rmtree(tmp_path / ".agentfleet")
    assert pull(REF, tmp_path).files == found.files
    assert found.opened(tmp_path).read_bytes() == BIG
    refused(tmp_path, f"{REF}@{'2' * 40}", UsageError, f"at {'1' * 40}, not at {'2' * 40}. To move it: --update")


def test_a_locked_model_stays_with_its_repository(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path).model_copy(update={"model": "Qwen3-1.7B", "format": "Q8_0"})
    save_lock(load_lock(tmp_path).with_pulled(found))
    found.opened(tmp_path).unlink()
    assert wanted("Qwen3-1.7B:Q8_0").reference.repo != "o/m"
    for update in (False, True):
        assert pull("Qwen3-1.7B:Q8_0", tmp_path, update=update).repo == "o/m"


def test_update_moves_it_and_tells_what_changed(hub: HubServer, tmp_path: Path) -> None:
    before = pull(REF, tmp_path)
    moved(hub)
    said: list[str] = []
    after = pull(REF, tmp_path, update=True, say=said.append)
    assert (after.revision, after.asked) == ("2" * 40, "main")
    assert after.template != before.template
    assert said[-2:] == ["moved from 111111111111 to 222222222222", "its chat template is another one: measure again "
                         "what you rely on"]  # fmt: skip
    assert not before.folder(tmp_path).exists() and after.opened(tmp_path).exists()
    assert load_lock(tmp_path).pulled == {REF: after}
    back = pull(f"{REF}@{'1' * 40}", tmp_path, update=True)
    assert (back.revision, back.files) == ("1" * 40, before.files)
    assert pull(REF, tmp_path, update=True).revision == "2" * 40, "a commit is no branch to follow"


def test_other_bytes_at_the_same_revision_are_refused(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path)
    found.opened(tmp_path).unlink()
    hub.repos["o/m"].commits["1" * 40][FILE] = gguf("{{ evil }}", size=3 * 2**20)
    refused(tmp_path, REF, ModelFileError, "not the file that agentfleet.lock knows, at the same revision")
    assert weights(tmp_path) == []


def test_a_damaged_file_is_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path)
    found.opened(tmp_path).write_bytes(BIG[:-1] + b"x")
    assert pull(REF, tmp_path).opened(tmp_path).read_bytes() == BIG


def test_another_model_s_entry_stays(hub: HubServer, tmp_path: Path) -> None:
    pull(REF, tmp_path)
    pull("o/m/m-Q4_0.gguf", tmp_path)
    assert set(load_lock(tmp_path).pulled) == {REF, "o/m/m-Q4_0.gguf"}


# What is removed -----------------------------------------------------------------------------------------------------


def test_only_a_model_s_own_files_are_removed(hub: HubServer, tmp_path: Path) -> None:
    found, other = pull(REF, tmp_path), pull("o/m/m-Q4_0.gguf", tmp_path)
    mine = found.folder(tmp_path) / "notes.txt"
    mine.write_text("mine")
    assert remove_files(found, tmp_path) == [found.opened(tmp_path)]
    assert other.opened(tmp_path).exists() and mine.exists()
    assert remove_files(found, tmp_path) == []
    mine.unlink()
    remove_files(other, tmp_path)
    assert not (tmp_path / ".agentfleet" / "models" / "o--m").exists()


def test_nothing_outside_the_models_folder_is_removed(hub: HubServer, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    found = pull(REF, home)
    shutil.move(found.folder(home), other)
    found.folder(home).symlink_to(other)
    with pytest.raises(ModelFileError, match="leads out of .*: nothing was removed"):
        remove_files(found, home)
    found.folder(home).unlink()
    found.folder(home).mkdir()
    found.opened(home).symlink_to(other / FILE)
    remove_files(found, home)
    assert (other / FILE).exists(), "the link is removed, not what it leads to"
    deep = Pulled(
        **{**found.model_dump(), "file": "", "files": [{**found.files[0].model_dump(), "name": "deep/x.gguf"}]}
    )
    deep.folder(home).mkdir(parents=True, exist_ok=True)
    (deep.folder(home) / "deep").symlink_to(other)
    (other / "x.gguf").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="leads out of"):
        remove_files(deep, home)
    assert (other / "x.gguf").exists()


def test_a_lock_that_was_edited_is_held_to(hub: HubServer, tmp_path: Path) -> None:
    found = pull(REF, tmp_path)
    save_lock(load_lock(tmp_path).with_pulled(found.model_copy(update={"template": "0" * 64})))
    found.opened(tmp_path).unlink()
    refused(tmp_path, REF, ModelFileError, "chat template of o/m/m-Q8_0.gguf is not the one that agentfleet.lock knows")
