"""Fetches a model: chooses its files, continues what broke off, checks size, hash and header, then writes the lock.

A file has a name of its own only when all of it was checked; a model is known only when all its files are there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentfleet.backends.hub.choose import format_of, gguf_files, gguf_of_format, safetensors_files
from agentfleet.backends.hub.client import Hub, Listing, Remote, Watch, is_offline, library
from agentfleet.backends.hub.inspect import check_file, template_of
from agentfleet.errors import ModelFileError, Unavailable, UnknownName, UsageError
from agentfleet.fleet.catalogue import Entry, catalogue, entry
from agentfleet.fleet.lock import Lock, load_lock, save_lock, verify
from agentfleet.fleet.pulled import MODELS, Pulled, PulledFile, find_pulled, folder_of
from agentfleet.fleet.reference import Reference, parse_reference

RESERVE: Final = 100 * 10**6
"""Bytes of the disk that stay free."""
_PIECE: Final = 2**20
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for. `name`, `format`: of the catalogue, "" where it does not know the repository."""

    reference: Reference
    name: str = ""
    format: str = ""


def wanted(text: str) -> Wanted:
    """``NAME[:FORMAT]`` of the catalogue, or a reference. Raises UnknownName, UsageError, ModelFileError (no repository)."""
    if "/" in text:
        reference = parse_reference(text)
        known = [one.name for one in catalogue() if one.hub == reference.repo]
        return Wanted(reference, known[0] if known else "", format_of(reference.file) if reference.file else "")
    name, _, kind = text.partition(":")
    found = entry(name)
    if found.hub is None:
        raise ModelFileError(
            f"the catalogue knows no repository of {found.name}: name one, agentfleet models pull OWNER/NAME/FILE.gguf"
        )
    return Wanted(Reference(found.hub), found.name, kind.upper())


def pull(
    text: str,
    home: Path,
    hub: Callable[[], Hub] = Hub.from_environment,
    *,
    update: bool = False,
    say: Say = lambda line: None,
    watch: Watch = lambda name, done, total: None,
) -> Pulled:
    """Fetch a model into a project and lock it. What the lock knows is fetched as it knows it; `update` moves it.

    `hub`: called when one is needed. Raises UsageError, UnknownName, MissingExtra, MissingKey, Unavailable, BackendError,
    ModelFileError (refused, changed, no room), OSError.
    """
    asked = wanted(text)
    lock = load_lock(home)
    known = _known(asked, lock)
    if known is not None and not update:
        _same_revision(asked, known)
        if _is_whole(known, lock):
            say(f"{known.key} is here, as the lock knows it")
            return known
    if is_offline():
        raise Unavailable(_offline(asked, known, lock.home))
    return _Pulling(asked, known, update, lock.home, hub(), say, watch).pull()


def _known(asked: Wanted, lock: Lock) -> Pulled | None:
    """The lock's entry of what is asked for."""
    if asked.reference.file or not asked.name:
        return lock.pulled.get(asked.reference.key)
    try:
        return find_pulled(f"{asked.name}:{asked.format}" if asked.format else asked.name, lock.pulled)
    except UnknownName:
        return None


def _same_revision(asked: Wanted, known: Pulled) -> None:
    revision = asked.reference.revision
    if not known.is_at(revision):
        raise UsageError(
            f"agentfleet.lock has {known.key} at {known.revision}, not at {revision}. To move it: --update"
        )


def _is_whole(known: Pulled, lock: Lock) -> bool:
    """Are all its files there, and those that the lock knows?"""
    try:
        for file in known.files:
            verify(known.folder(lock.home) / file.name, lock)
    except ModelFileError:
        return False
    return True


def _offline(asked: Wanted, known: Pulled | None, home: Path) -> str:
    what = str(asked.reference) if known is None else ", ".join(known.missing(home)) or "a file that is not damaged"
    return f"offline (HF_HUB_OFFLINE is set), and not here: {what}. Unset it where there is a network, and pull there"


@dataclass(frozen=True, slots=True)
class _Pulling:
    """One pull that needs the hub. `known`: the lock's entry; it is held to, unless `update`."""

    asked: Wanted
    known: Pulled | None
    update: bool
    home: Path
    hub: Hub
    say: Say
    watch: Watch

    @property
    def pinned(self) -> Pulled | None:
        return None if self.update else self.known

    def pull(self) -> Pulled:
        branch = self.branch()
        repo = self.known.repo if self.known else self.asked.reference.repo  # the catalogue may name another one by now
        listing = self.hub.listing(repo, self.pinned.revision if self.pinned else branch)
        file, remotes = self.chosen(listing)
        size = sum(remote.size or 0 for remote in remotes) / 1e6
        self.say(f"{Reference(listing.repo, file, listing.revision[:12])} from {self.hub.host}, {size:.0f} MB")
        found = self.fetched(listing, branch, file, remotes)
        if self.known is not None and self.known.revision != found.revision:
            _tell_change(self.known, found, self.say)
            remove_files(self.known, self.home)
        return found

    def branch(self) -> str:
        """What to ask the hub for: as named, else as before, else main."""
        before = self.known.asked if self.known else ""
        if (self.asked.reference.revision and self.update) or not before:
            return self.asked.reference.revision or "main"
        return "main" if self.update and re.fullmatch(r"[0-9a-f]{7,40}", before) else before

    def chosen(self, listing: Listing) -> tuple[str, list[Remote]]:
        """(file that is opened, files)."""
        file = self.known.file if self.known else self.asked.reference.file
        catalogued = self.known is None and not file and self.asked.name
        if catalogued and (self.asked.format or any(one.name.endswith(".gguf") for one in listing.files)):
            file = gguf_of_format(listing, self.asked.format)
        return file, gguf_files(listing, file) if file else safetensors_files(listing)

    def fetched(self, listing: Listing, branch: str, file: str, remotes: Sequence[Remote]) -> Pulled:
        """The model with all its files in place, and in the lock."""
        folder = folder_of(self.home, listing.repo, listing.revision)
        with _alone(folder, self.home):
            _check_room(folder, remotes)
            files = tuple(_file(self.hub, listing, one, folder, self.pinned, self.watch) for one in remotes)
            found = Pulled(
                repo=listing.repo,
                revision=listing.revision,
                asked=branch,
                file=file,
                model=self.asked.name,
                format=format_of(file),
                template=template_of(folder / file if file else folder),
                license=_license(self.asked.name, listing),
                date=datetime.now(UTC).isoformat(timespec="seconds"),
                files=files,
            )
            _check_pinned(found, self.pinned)
            _record(found, self.home)
        return found


def _license(name: str, listing: Listing) -> str:
    known: Entry | None = next((one for one in catalogue() if one.name == name), None)
    return (known.license if known else None) or listing.license


@contextmanager
def _alone(folder: Path, home: Path) -> Iterator[None]:
    """Only one process fetches a model at a time. The models folder is never committed."""
    top = home / MODELS
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(top.resolve()):
        raise ModelFileError(f"{folder} leads out of {top}: remove that link")
    ignore = top / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    filelock = library("filelock")
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            try:
                yield
            finally:
                _leave_nothing(folder, top)
    except filelock.Timeout:
        raise ModelFileError(f"another process is fetching into {folder}: wait for it") from None


def _leave_nothing(folder: Path, top: Path) -> None:
    """A pull that fetched nothing leaves no folder."""
    if [path.name for path in folder.iterdir()] == [".lock"]:
        with suppress(OSError):  # Windows removes no file that is open
            (folder / ".lock").unlink()
            _remove_empty(folder, top)


def _check_room(folder: Path, remotes: Sequence[Remote]) -> None:
    """Is there room for what is still to come?"""
    need = sum(
        max((one.size or 0) - _size(_part(folder, one.name)), 0) for one in remotes if not (folder / one.name).exists()
    )
    free = shutil.disk_usage(folder).free
    if need and free < need + RESERVE:
        raise ModelFileError(
            f"no room in {folder}: {need / 1e6:.0f} MB are to come, and {free / 1e6:.0f} MB are free"
            f" ({RESERVE / 1e6:.0f} MB stay so). Make room, or run `agentfleet models rm` for another model"
        )


def _part(folder: Path, name: str) -> Path:
    path = folder / name
    return path.with_name(f".{path.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _file(hub: Hub, listing: Listing, remote: Remote, folder: Path, pinned: Pulled | None, watch: Watch) -> PulledFile:
    """One file, fetched if it is not there, and checked either way."""
    path, part = folder / remote.name, _part(folder, remote.name)
    if path.is_file():
        if path.stat().st_size == remote.size and _fits(found := _hashes(path, watch), remote):
            return PulledFile(name=remote.name, sha256=found[0], bytes=path.stat().st_size)
        path.unlink()  # what lay here is not what was published
    if _size(part) > (remote.size or 0):
        part.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _room(part):
        said = hub.fetch(listing, remote, part, watch)
    found = _checked(part, remote, said, watch)
    if pinned is not None and all(file.sha256 != found[0] for file in pinned.files if file.name == remote.name):
        part.unlink()
        raise ModelFileError(
            f"{remote.name} of {listing.repo} is not the file that agentfleet.lock knows, at the same revision"
            f" {listing.revision[:12]}: the hub, or the lock, was tampered with. Nothing was changed"
        )
    os.replace(part, path)
    return PulledFile(name=remote.name, sha256=found[0], bytes=path.stat().st_size)


@contextmanager
def _room(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ModelFileError(
            f"the disk is full: {_size(part) / 1e6:.0f} MB of {part.parent / part.name[1:].removesuffix('.part')} are kept."
            " Make room and run the command again to go on"
        ) from None


def _checked(part: Path, remote: Remote, said: Remote, watch: Watch) -> tuple[str, str]:
    """(sha256, git's sha1) of a fetched file. Raises ModelFileError and removes it: size, hash or form is wrong."""
    try:
        if part.stat().st_size != remote.size:
            raise ModelFileError(f"{remote.name} has {part.stat().st_size} bytes instead of {remote.size}")
        found = _hashes(part, watch)
        if not _fits(found, remote) or not _fits(found, said):
            expected = remote.sha256 or remote.blob or ""
            raise ModelFileError(f"{remote.name} is not what was published: hash {expected[:12]}… was expected")
        check_file(part)
    except ModelFileError as error:
        part.unlink(missing_ok=True)
        raise ModelFileError(f"{error}. It was removed; run the command again to fetch it anew") from None
    return found


def _fits(found: tuple[str, str], remote: Remote) -> bool:
    """Are these the hashes that the hub tells? It tells one of the two."""
    return (remote.sha256 or found[0], remote.blob or found[1]) == found


def _hashes(path: Path, watch: Watch) -> tuple[str, str]:
    """(sha256, sha1 as git makes it)."""
    size = path.stat().st_size
    whole, blob, done = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
            blob.update(piece)
            done += len(piece)
            watch(f"checking {path.name.removeprefix('.').removesuffix('.part')}", done, size)
    return whole.hexdigest(), blob.hexdigest()


def _check_pinned(found: Pulled, pinned: Pulled | None) -> None:
    if pinned is not None and found.template != pinned.template:
        raise ModelFileError(
            f"the chat template of {found.key} is not the one that agentfleet.lock knows; to take it: --update"
        )


def _record(found: Pulled, home: Path) -> None:
    """Into the lock as it is now: another model may have been pulled meanwhile."""
    filelock = library("filelock")
    with filelock.FileLock(home / MODELS / ".lock", timeout=60):
        save_lock(load_lock(home).with_pulled(found))


def _tell_change(before: Pulled, found: Pulled, say: Say) -> None:
    say(f"moved from {before.revision[:12]} to {found.revision[:12]}")
    if before.template != found.template:
        say("its chat template is another one: measure again what you rely on")


def remove_files(pulled: Pulled, home: Path) -> list[Path]:
    """Remove a pulled model's files, and its folders if they are empty then; nothing else. The files that were there.

    Raises ModelFileError when its folder leads out of the models folder, OSError.
    """
    top, folder = (home / MODELS).resolve(), pulled.folder(home)
    if not folder.exists():
        return []
    if folder.is_symlink() or not folder.resolve().is_relative_to(top) or folder.resolve() == top:
        raise ModelFileError(f"{folder} leads out of {home / MODELS}: nothing was removed")
    gone = []
    for file in pulled.files:
        path = folder / file.name
        if not path.parent.resolve().is_relative_to(folder.resolve()):
            raise ModelFileError(f"{path} leads out of {folder}: it was not removed")
        for one in (path, _part(folder, file.name)):
            if one.is_file() or one.is_symlink():
                one.unlink()
                gone.append(one)
    (folder / ".lock").unlink(missing_ok=True)
    _remove_empty(folder, home / MODELS)
    return gone


def _remove_empty(folder: Path, top: Path) -> None:
    for one in sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True):
        if not any(one.iterdir()):
            one.rmdir()
    for one in (folder, folder.parent):
        if one != top and one.is_dir() and not any(one.iterdir()):
            one.rmdir()
