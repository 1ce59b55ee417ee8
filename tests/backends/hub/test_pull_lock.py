"""Pulling what agentfleet.lock knows: held to it, moved by --update alone, removed without touching anything else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backends.hub.pulling import BIG, FILE, REF, refused, weights
from servers.hub import HubServer
from servers.weights import gguf

from agentfleet.backends.hub.pull import pull, remove_files, wanted
from agentfleet.errors import ModelFileError, UsageError
from agentfleet.fleet.lock import load_lock, save_lock
from agentfleet.fleet.pulled import Pulled

pytestmark = pytest.mark.server


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
