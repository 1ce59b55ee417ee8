"""Are the files still the ones of the lock? Asked of one model when it is opened, and of all by ``models verify``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from agentfleet.backends.hub.inspect import check_file, check_template
from agentfleet.errors import AgentfleetError, ModelFileError, UnknownName, nearest
from agentfleet.fleet.lock import FILE, Lock, LockedFile, load_lock, located, verify
from agentfleet.fleet.pulled import MODELS, Pulled, find_pulled, place_in_models, resolve

State = Literal["ok", "changed", "missing", "damaged"]
_STAMPS: Final = ".verified.json"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one file. `model`: its name in the lock. `why`: what is wrong, "" when nothing is."""

    model: str
    path: Path
    state: State
    why: str = ""


def pulled_weights(place: str, lock: Lock | None = None) -> Path:
    """What a backend opens for a fleet's ``model = "..."`` that names a pulled model: a GGUF file, or a folder.

    Reads all its files (about a second a gigabyte), each state of them once in a process. Raises ModelFileError: not
    pulled, missing, another revision, other bytes, another chat template.
    """
    known = load_lock() if lock is None else lock
    pulled = resolve(place, known.pulled, known.home)
    for file in pulled.files:
        verify(pulled.folder(known.home) / file.name, known)
    path = pulled.opened(known.home)
    check_template(path, pulled.template, pulled.key)
    return path


def verify_all(lock: Lock, name: str = "", load: bool = False) -> Iterator[Finding]:
    """One finding a file of the lock, or of one model: its bytes, its header, the chat template of what is opened.

    `load`: GGUF models are loaded too, each in a process of its own. Raises UnknownName, UsageError.
    """
    for model, row in _rows(lock, name):
        path = located(row.path, lock.home)
        state, why = _look(path, row, model, lock)
        pulled = lock.pulled.get(model)
        if state == "ok" and (pulled is None or row.path == _first(pulled)):
            state, why = _look_inside(path, pulled, lock, load)
        if state == "ok":
            _stamp(path, row.sha256, lock.home)
        yield Finding(model, path, state, why)


def is_verified(pulled: Pulled, home: Path) -> bool:
    """Were all its files verified as they are now? Reads none of them."""
    stamps, folder = _stamps(home), pulled.folder(home)
    return all(
        (now := _state(folder / file.name, file.sha256)) is not None
        and stamps.get(place_in_models(pulled, file)) == now
        for file in pulled.files
    )


def stamp_pulled(pulled: Pulled, home: Path) -> None:
    """Remember that all its files were verified as they are now."""
    for file in pulled.files:
        _stamp(pulled.folder(home) / file.name, file.sha256, home)


def _rows(lock: Lock, name: str) -> Iterator[tuple[str, LockedFile]]:
    if not name:
        yield from lock.files()
        return
    model = name if name in lock.models else _pulled_key(lock, name)
    yield from (row for row in lock.files() if row[0] == model)


def _pulled_key(lock: Lock, name: str) -> str:
    try:
        return find_pulled(name, lock.pulled).key
    except UnknownName:
        known = [*lock.models, *lock.pulled]
        hint = nearest(name, known) if known else "; it is empty"
        raise UnknownName(f"{lock.home / FILE} has no model {name!r}{hint}") from None


def _look(path: Path, row: LockedFile, model: str, lock: Lock) -> tuple[State, str]:
    if not path.is_file():
        command = "pull" if model in lock.pulled else "tune"
        return "missing", f"{path} is not there. Run: agentfleet models {command} {model}"
    try:
        verify(path, lock)
    except ModelFileError as error:
        return "changed", str(error)
    try:
        check_file(path)
    except ModelFileError as error:
        return "damaged", str(error)
    return "ok", ""


def _look_inside(path: Path, pulled: Pulled | None, lock: Lock, load: bool) -> tuple[State, str]:
    if pulled is not None:
        try:
            check_template(pulled.opened(lock.home), pulled.template, pulled.key)
        except ModelFileError as error:
            return "changed", str(error)
    if load and path.suffix == ".gguf":
        from agentfleet.backends.llama_cpp.child import check_loads

        try:
            check_loads(path)
        except AgentfleetError as error:
            return "damaged", str(error)
    return "ok", ""


def _first(pulled: Pulled) -> str:
    """The place of the file with which a model as a whole is looked at: the one that is opened, if it is one."""
    return place_in_models(pulled, next(f for f in pulled.files if f.name == (pulled.file or pulled.files[0].name)))


def _state(path: Path, sha256: str) -> list[Any] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_ctime_ns, sha256]


def _stamps(home: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((home / MODELS / _STAMPS).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _stamp(path: Path, sha256: str, home: Path) -> None:
    """Only a memory aid for lists: nothing is opened because of it, so that it may be lost."""
    folder = home / MODELS
    if not path.is_relative_to(folder):
        return
    stamps = {**_stamps(home), path.relative_to(home).as_posix(): _state(path, sha256)}
    kept = {place: state for place, state in stamps.items() if (home / place).is_file()}
    beside = folder / f"{_STAMPS}.{os.getpid()}"
    with suppress(OSError):
        beside.write_text(json.dumps(kept, indent=0), encoding="utf-8")
        beside.replace(folder / _STAMPS)
