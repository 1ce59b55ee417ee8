"""Models that were fetched from a hub: what agentfleet.lock knows of each, and where their files lie.

Paths are made from repository, revision and name, never read from the lock: an entry cannot point outside the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentfleet.errors import ModelFileError, UnknownName, UsageError, nearest
from agentfleet.fleet.reference import REVISION, SCHEME, Reference, is_repo, is_safe, parse_reference

MODELS: Final = Path(".agentfleet") / "models"
"""The models folder of a project."""
_SHOWN: Final = 12
"""Letters of a revision that name its folder."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PulledFile(_Row):
    """One file. `name`: in the repository. `bytes`: its size."""

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)

    @field_validator("name")
    @classmethod
    def _safe(cls, value: str) -> str:
        if not is_safe(value):
            raise ValueError(f"{value!r} cannot be the name of a model's file")
        return value


class Pulled(_Row):
    """One model. `revision`: the commit. `asked`: the branch or tag that it was then. `file`: what is opened, "" for the
    whole folder (safetensors).

    `model`, `format`: as the catalogue calls them, "" where it does not know it. `template`: sha256 of its chat template,
    None where it has none. `license`: as the catalogue or the hub says. `date`: when it was pulled.
    """

    repo: str
    revision: str = Field(pattern=f"^{REVISION}$")
    asked: str = ""
    file: str = ""
    model: str = ""
    format: str = ""
    template: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    license: str = ""
    date: str = ""
    files: tuple[PulledFile, ...] = Field(min_length=1)

    @field_validator("repo")
    @classmethod
    def _named(cls, value: str) -> str:
        if not is_repo(value):
            raise ValueError(f"{value!r} is no OWNER/NAME")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Pulled:
        names = [file.name for file in self.files]
        if self.file and self.file not in names:
            raise ValueError(f"{self.file} is not among its files")
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError("two of its files have the same name")
        return self

    @property
    def key(self) -> str:
        """Its name in the lock: OWNER/NAME/FILE.gguf, or OWNER/NAME."""
        return Reference(self.repo, self.file).key

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def is_at(self, revision: str) -> bool:
        """Is this the revision that somebody names: a commit, its first letters, or the branch that was asked for?"""
        return revision == self.asked or self.revision.startswith(revision)

    def folder(self, home: Path) -> Path:
        """Where its files lie. A lock of another revision means another folder."""
        return folder_of(home, self.repo, self.revision)

    def opened(self, home: Path) -> Path:
        """What a backend opens: the GGUF file, or the folder."""
        return self.folder(home) / self.file if self.file else self.folder(home)

    def missing(self, home: Path) -> list[str]:
        """Names of files that are not there."""
        return [file.name for file in self.files if not (self.folder(home) / file.name).is_file()]


def folder_of(home: Path, repo: str, revision: str) -> Path:
    """Where the files of a repository at a commit lie."""
    return home / MODELS / repo.replace("/", "--") / revision[:_SHOWN]


def place_in_models(pulled: Pulled, file: PulledFile) -> str:
    """The path of a file from the lock's folder."""
    return (pulled.folder(Path()) / file.name).as_posix()


def find_pulled(name: str, known: Mapping[str, Pulled]) -> Pulled:
    """The pulled model of a name: a reference, a name of the catalogue (``NAME:FORMAT``), or the name of its file.

    Raises UnknownName that offers the nearest, UsageError where several are meant.
    """
    found = [
        pulled for pulled in known.values() if name in _names(pulled) or name.lower() in _names(pulled, lower=True)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{name!r} may be {' or '.join(sorted(pulled.key for pulled in found))}: name one of them")
    raise UnknownName(f"no pulled model {name!r}{nearest(name, known) if known else '; none is pulled'}")


def _names(pulled: Pulled, lower: bool = False) -> set[str]:
    """All the names that mean it. `lower`: those whose case does not matter, in lower case."""
    catalogued = {pulled.model, f"{pulled.model}:{pulled.format}"} if pulled.model else set()
    if lower:
        return {name.lower() for name in catalogued}
    exact = {pulled.key, SCHEME + pulled.key, *catalogued}
    return exact | ({pulled.file.rpartition("/")[2]} if pulled.file else set())


def resolve(place: str, known: Mapping[str, Pulled], home: Path) -> Pulled:
    """The pulled model that a fleet's ``model = "..."`` names.

    Raises ModelFileError that names the command: not pulled, files missing, another revision than the fleet asks for.
    """
    wanted = parse_reference(place) if place.startswith(SCHEME) else None
    name = wanted.key if wanted else place
    try:
        pulled = find_pulled(name, known)
    except UnknownName:
        raise ModelFileError(
            f"the model {place} is not pulled. Run: agentfleet models pull {_argument(place)}"
        ) from None
    if wanted and not pulled.is_at(wanted.revision):
        raise ModelFileError(
            f"the fleet asks for {place}, and agentfleet.lock has its revision {pulled.revision}. To move it run:"
            f" agentfleet models pull {_argument(place)} --update"
        )
    if lost := pulled.missing(home):
        raise ModelFileError(
            f"{', '.join(lost)} of the model {pulled.key} at revision {pulled.revision[:_SHOWN]} is not here."
            f" Run: agentfleet models pull {_argument(pulled.key)}"
        )
    return pulled


def _argument(place: str) -> str:
    """A model's name as a shell wants it."""
    plain = place.removeprefix(SCHEME)
    return f"'{plain}'" if set(plain) & set(" ()[]") else plain


def rows(known: Mapping[str, Pulled]) -> Iterator[tuple[str, Pulled, PulledFile]]:
    """(name, model, file) of all files."""
    for name, pulled in known.items():
        for file in pulled.files:
            yield name, pulled, file
