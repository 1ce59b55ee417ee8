"""agentfleet.lock: which weights this project runs, by sha256; from where they were pulled; what was chosen, measured how.

Written whole beside itself and then renamed, so that it is never half there. Meant to be committed with the fleet file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentfleet.errors import FleetError, ModelFileError, nearest
from agentfleet.fleet.config import project_root
from agentfleet.fleet.pulled import Pulled, place_in_models, rows

FILE: Final = "agentfleet.lock"
VERSION: Final = 1
_PACKAGE = "package:"
_HEAD = "# Written by `agentfleet models tune` and `pull`. Commit it; to forget a model, delete its tables.\n"
_PIECE = 2**20

Objective = Literal["fastest", "smallest", "closest"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedFile(_Row):
    """One file of weights. `path`: from the lock's folder, or ``package:NAME/FILE`` for one that a package carries."""

    format: str = Field(min_length=1)
    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)


class Measured(_Row):
    """What one format did. `prompt_ms`, `decode_ms`: milliseconds a token, with its best `threads` and `batch`.

    `agrees`: answers that are those of the original; `right`: that are the expected ones; each [how many, of how many].
    """

    format: str
    threads: int | None = Field(default=None, gt=0)
    batch: int | None = Field(default=None, gt=0)
    prompt_ms: float = Field(ge=0)
    decode_ms: float = Field(ge=0)
    agrees: tuple[int, int]
    right: tuple[int, int]


class Locked(_Row):
    """What is known of one model. `threads`: how many were fastest for the chosen format, None where none were compared.
    `batch`: the same of the tokens of a prompt in one evaluation.

    `machine`: where it was measured. `cases`: what answered the questions. `engine`: the version of llama-cpp-python.
    """

    original: str
    chosen: str
    objective: Objective
    date: str
    machine: str = ""
    engine: str = ""
    cases: str = ""
    threads: int | None = Field(default=None, gt=0)
    batch: int | None = Field(default=None, gt=0)
    files: tuple[LockedFile, ...]
    measured: tuple[Measured, ...] = ()

    @model_validator(mode="after")
    def _names_files(self) -> Locked:
        for name in (self.original, self.chosen):
            self.file(name)
        return self

    def file(self, name: str) -> LockedFile:
        """The file of a format. Raises ValueError when there is none."""
        for entry in self.files:
            if entry.format == name:
                return entry
        raise ValueError(f"no file of the format {name!r}{nearest(name, [entry.format for entry in self.files])}")


class Lock(_Row):
    """A lock file. `home`: the folder it stands in. `models`: what was tuned. `pulled`: what was fetched from a hub."""

    home: Path = Field(exclude=True)
    version: int = VERSION
    models: dict[str, Locked] = Field(default_factory=dict)
    pulled: dict[str, Pulled] = Field(default_factory=dict)

    @field_validator("version")
    @classmethod
    def _known(cls, value: int) -> int:
        if value != VERSION:
            raise ValueError(f"version {value} was written by another agentfleet; this one knows {VERSION}")
        return value

    @field_validator("pulled")
    @classmethod
    def _named(cls, value: dict[str, Pulled]) -> dict[str, Pulled]:
        for name, entry in value.items():
            if name != entry.key:
                raise ValueError(f"{name!r} is the entry of {entry.key}")
        return value

    def files(self) -> Iterator[tuple[str, LockedFile]]:
        """(model, file) of all that is locked."""
        for name, model in self.models.items():
            for file in model.files:
                yield name, file
        for name, pulled, one in rows(self.pulled):
            kind, place = pulled.format or one.name.rpartition(".")[2], place_in_models(pulled, one)
            yield name, LockedFile(format=kind, path=place, sha256=one.sha256, bytes=one.bytes)

    def with_model(self, name: str, model: Locked) -> Lock:
        """This lock with one model's entry replaced."""
        return self.model_copy(update={"models": {**self.models, name: model}})

    def with_pulled(self, pulled: Pulled) -> Lock:
        """This lock with one pulled model's entry replaced."""
        return self.model_copy(update={"pulled": {**self.pulled, pulled.key: pulled}})

    def without_pulled(self, pulled: Pulled) -> Lock:
        """This lock without a pulled model."""
        kept = {name: entry for name, entry in self.pulled.items() if name != pulled.key}
        return self.model_copy(update={"pulled": kept})


def load_lock(home: Path | None = None) -> Lock:
    """The lock of a folder (default: this project's root); an empty one where there is no file.

    Raises FleetError that names the file and the key.
    """
    folder = (home or project_root()).resolve()
    path = folder / FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Lock(home=folder)
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # no TOML, no UTF-8
        raise FleetError(f"{path} is damaged: {error}. {_MEND}") from None
    try:
        return Lock(**{**data, "home": folder})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise FleetError(f"{path}: {f'{place}: ' if place else ''}{message}. {_MEND}") from None


_MEND = "Take it from version control again, or delete it and run `agentfleet models tune NAME`"


def save_lock(lock: Lock) -> Path:
    """Write a lock into its folder; who reads meanwhile sees the old one or the new one. Raises OSError."""
    path = lock.home / FILE
    beside = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(_HEAD + "".join(_toml(lock.model_dump(mode="json", exclude_none=True))))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    return path


def verify(path: Path, lock: Lock | None = None) -> None:
    """Is a file of weights the one that the lock knows? One that the lock does not name passes.

    `lock`: default is this project's. Reads the whole file (about a second a gigabyte), each state of it once in a
    process. Raises ModelFileError for one that differs, FleetError for a damaged lock.
    """
    known = load_lock() if lock is None else lock
    for name, file in known.files():
        if _same(located(file.path, known.home), path):
            _verify(path, file, name, known)


def preferred(name: str, path: Path, lock: Lock | None = None) -> tuple[Path, int | None, int | None]:
    """(file, threads, batch) that the lock chose for a model whose original weights are `path`.

    (path, None, None) where it is silent.

    An entry for other weights says nothing about these. Raises ModelFileError when the chosen file is gone.
    """
    known = load_lock() if lock is None else lock
    model = known.models.get(name)
    if model is None or not _same(located(model.file(model.original).path, known.home), path):
        return path, None, None
    chosen = located(model.file(model.chosen).path, known.home)
    if not chosen.is_file():
        raise ModelFileError(
            f"{known.home / FILE} chose {chosen} for model {name!r}, which is not there:"
            f" run `agentfleet models tune {name}` to make it again, or delete the model's tables from the lock"
        )
    return chosen, model.threads, model.batch


def file_of(path: Path, name: str, home: Path) -> LockedFile:
    """The row of a file as it is now. `name`: its format. Raises ModelFileError when it cannot be read."""
    return LockedFile(format=name, path=place_of(path, home), sha256=sha256_of(path), bytes=path.stat().st_size)


def place_of(path: Path, home: Path) -> str:
    """How a lock in `home` names a file, so that it means the same on another machine."""
    whole = path.resolve()
    for entry in sys.path:
        folder = Path(entry or ".").resolve()
        if folder.name in ("site-packages", "dist-packages") and whole.is_relative_to(folder):
            return _PACKAGE + whole.relative_to(folder).as_posix()
    if whole.is_relative_to(home.resolve()):
        return whole.relative_to(home.resolve()).as_posix()
    return str(whole)


def located(place: str, home: Path) -> Path:
    """The path of a file that a lock in `home` names. It need not exist."""
    if not place.startswith(_PACKAGE):
        return home / place
    package, _, rest = place.removeprefix(_PACKAGE).partition("/")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(folders[0]) / rest if folders else Path(place)


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hex. Raises ModelFileError when it cannot be read."""
    whole = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                whole.update(piece)
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from None
    return whole.hexdigest()


_verified: dict[tuple[str, int, int, int], str] = {}
"""What was read: (path, inode, size, time of change) → sha256."""


def _verify(path: Path, file: LockedFile, name: str, lock: Lock) -> None:
    try:
        state = path.stat()
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from None
    if state.st_size != file.bytes:
        raise ModelFileError(_differs(path, name, lock, f"{state.st_size} bytes instead of {file.bytes}"))
    key = (str(path), state.st_ino, state.st_size, state.st_ctime_ns)
    if key not in _verified:
        _verified[key] = sha256_of(path)
    if _verified[key] != file.sha256:
        found = f"sha256 {_verified[key][:12]}… instead of {file.sha256[:12]}…"
        raise ModelFileError(_differs(path, name, lock, found))


def _differs(path: Path, name: str, lock: Lock, found: str) -> str:
    told = f"{path} is not the file that {lock.home / FILE} knows for model {name!r}: {found}."
    if name in lock.pulled:
        return f"{told} To fetch the right one run `agentfleet models pull {name}`"
    return (
        f"{told} Put the right file there;"
        f" if the change is meant, run `agentfleet models tune {name}` or delete the model's tables from the lock"
    )


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _toml(table: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The lines of a table: its values first, then the tables in it."""
    for key, value in table.items():
        if not _nested(value):
            yield f"{key} = {_value(value)}\n"
    for key, value in table.items():
        inner = f"{place}.{_key(key)}" if place else _key(key)
        if isinstance(value, Mapping):
            if any(not _nested(part) for part in value.values()):
                yield f"\n[{inner}]\n"
            yield from _toml(value, inner)
        elif _nested(value):
            for row in value:
                yield f"\n[[{inner}]]\n"
                yield from _toml(row, inner)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return repr(round(value, 4))
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
