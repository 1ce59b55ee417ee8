"""Which files of a repository make up a model: one GGUF (or its parts), or the safetensors with what transformers reads.

No pickles, no code, and no name that could lead out of the folder: what is not on the lists here is never fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from agentfleet.backends.hub.client import Listing, Remote
from agentfleet.errors import ModelFileError, UnknownName, nearest
from agentfleet.fleet.reference import PICKLES, is_safe

FORMATS: Final = ("Q4_K_M", "Q4_K_S", "Q4_K", "Q4_0", "Q4_1", "Q5_K_M", "Q5_K", "Q6_K", "Q8_0", "BF16", "F16", "F32")
"""Which one is fetched where none is named: the first that there is."""
LARGEST: Final = 50 * 10**9
"""Bytes of a file that a hub gives over plain HTTP."""

_SPLIT: Final = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf$")
_KEPT: Final = (
    "config.json", "generation_config.json", "tokenizer*.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", "*.safetensors",
    "*.safetensors.index.json",
)  # fmt: skip
_FORMAT: Final = re.compile(r"(?<![A-Za-z0-9])(I?Q\d(?:_[A-Z0-9]+)*|BF16|F16|F32)(?![A-Za-z0-9])", re.IGNORECASE)


def gguf_files(listing: Listing, file: str) -> list[Remote]:
    """The file of that name, with its other parts where it is split. Raises UnknownName with the nearest, ModelFileError."""
    known = {one.name: one for one in listing.files}
    if file not in known:
        there = [name for name in known if name.endswith(".gguf")]
        hint = nearest(file, there) if there else _nothing(listing)
        raise UnknownName(f"{listing.repo} has no file {file!r} at {listing.revision[:12]}{hint}")
    split = _SPLIT.fullmatch(file)
    names = [file]
    if split:
        names = [f"{split[1]}-{index:05}-of-{split[3]}.gguf" for index in range(1, int(split[3]) + 1)]
    if lacking := [name for name in names if name not in known]:
        raise ModelFileError(f"{listing.repo} lacks {lacking[0]}, a part of the model")
    return _checked(listing, [known[name] for name in names])


def gguf_of_format(listing: Listing, wanted: str) -> str:
    """The name of the GGUF in a format; "" means the first of `FORMATS` that there is. Raises UnknownName, ModelFileError."""
    names = [one.name for one in listing.files if is_model(one.name)]
    if not names:
        raise ModelFileError(f"{listing.repo} has no GGUF file{_nothing(listing)}")
    found = {format_of(name): name for name in reversed(names)}
    if not wanted:
        return next((found[name] for name in FORMATS if name in found), names[0])
    if wanted.upper() not in found:
        raise UnknownName(f"{listing.repo} has no format {wanted!r}{nearest(wanted.upper(), filter(None, found))}")
    return found[wanted.upper()]


def is_model(name: str) -> bool:
    """Is it a GGUF that can be opened by itself: the first part, and no projector of pictures?"""
    split = _SPLIT.fullmatch(name)
    return name.endswith(".gguf") and "mmproj" not in name.lower() and (split is None or int(split[2]) == 1)


def format_of(name: str) -> str:
    """The weight format in a file's name in capitals, "" where it tells none."""
    found = _FORMAT.findall(name.rpartition("/")[2])
    return str(found[-1]).upper() if found else ""


def safetensors_files(listing: Listing) -> list[Remote]:
    """All that transformers needs, the small files first. Raises ModelFileError where there are no safetensors."""
    top = [one for one in listing.files if any(fnmatchcase(one.name, kind) for kind in _KEPT) and "/" not in one.name]
    if not any(one.name.endswith(".safetensors") for one in top):
        raise ModelFileError(f"{listing.repo} has no safetensors{_nothing(listing)}")
    if all(one.name != "config.json" for one in top):
        raise ModelFileError(f"{listing.repo} has no config.json, which transformers needs")
    return _checked(listing, sorted(top, key=lambda one: (one.name.endswith(".safetensors"), one.name)))


def _nothing(listing: Listing) -> str:
    """What there is instead."""
    names = [one.name for one in listing.files]
    if any(name.endswith(".gguf") for name in names):
        shown = ", ".join(_printable(name for name in names if name.endswith(".gguf")))
        return f"; it has GGUF files: agentfleet models pull {listing.repo}/FILE.gguf, with FILE.gguf one of {shown}"
    if any(name.endswith(".safetensors") for name in names):
        return f"; it has safetensors: agentfleet models pull {listing.repo}"
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
    if pickles:
        return (
            f", only pickles ({', '.join(_printable(pickles))}), which can run code when they are loaded and are never"
            " fetched. Look for a repository with GGUF or safetensors files"
        )
    return ""


def _printable(names: Iterable[str], most: int = 5) -> list[str]:
    """A few names that are safe to print."""
    shown = sorted(name for name in names if is_safe(name))
    return [*shown[:most], *(["…"] if len(shown) > most else [])]


def _checked(listing: Listing, files: Sequence[Remote]) -> list[Remote]:
    """The same, if they may be fetched. Raises ModelFileError."""
    for one in files:
        if not is_safe(one.name):
            raise ModelFileError(f"{listing.repo} has a file named {one.name!r}, which no model's file may be: refused")
        if not one.size or one.size < 0:
            raise ModelFileError(f"{listing.repo}: the hub tells no size of {one.name}, or it is empty: refused")
        if one.size > LARGEST:
            raise ModelFileError(f"{one.name} has {one.size / 1e9:.0f} GB; a hub gives files over 50 GB in parts alone")
        if not one.sha256 and not one.blob:
            raise ModelFileError(f"{listing.repo}: the hub tells no hash of {one.name}: refused")
    if len({one.name.casefold() for one in files}) < len(files):
        raise ModelFileError(f"{listing.repo} has two files whose names differ in case alone: refused")
    return list(files)
