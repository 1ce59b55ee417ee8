"""The only file that calls huggingface_hub: what a repository holds, and one file of it, continued where it broke off.

Every failure is an error of ours; addresses are never shown, since those of a store may be signed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from agentfleet.errors import (
    AgentfleetError,
    BackendError,
    MissingExtra,
    MissingKey,
    Unavailable,
    UnknownName,
    UsageError,
)
from agentfleet.fleet.reference import REVISION

T = TypeVar("T")
Watch = Callable[[str, int, int], None]
"""Told (name, bytes so far, bytes of the file) while a file is fetched or read."""

ENDPOINT: Final = "https://huggingface.co"
TIMEOUT: Final = 30.0
"""Seconds for one answer about a repository or a file."""
WAITS: Final = (1.0, 4.0)
"""Seconds before each further try when the hub is overloaded."""
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_YES: Final = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a repository. `size`: bytes. `sha256`: of large files. `blob`: git's sha1 of the others."""

    name: str
    size: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit."""

    repo: str
    revision: str
    files: tuple[Remote, ...]
    license: str


class Hub:
    """One hub. `endpoint`: its address. `token`: sent to this address alone, never shown. Connects to nothing yet.

    Raises MissingExtra without the library, UsageError for an address that is none.
    """

    def __init__(self, endpoint: str = ENDPOINT, token: str = "") -> None:
        _check_address(endpoint)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when the library is imported
        library("huggingface_hub.utils.logging").set_verbosity_error()  # it logs addresses
        self.endpoint = endpoint.rstrip("/")
        self._token = token

    @classmethod
    def from_environment(cls) -> Hub:
        """The hub of HF_ENDPOINT, with the token of HF_TOKEN."""
        return cls(os.environ.get("HF_ENDPOINT", "").strip() or ENDPOINT, os.environ.get("HF_TOKEN", "").strip())

    def __repr__(self) -> str:
        return f"Hub({self.endpoint!r})"

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).netloc

    def listing(self, repo: str, revision: str) -> Listing:
        """The files of a repository at a branch, tag or commit.

        Raises UnknownName, MissingKey (not allowed), Unavailable, BackendError.
        """
        api = library("huggingface_hub").HfApi(
            endpoint=self.endpoint, token=self._token or False, library_name="agentfleet"
        )
        with self._told(f"{repo} at {revision}", repo):
            info = _patiently(lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT))
            return _listing(repo, info)

    def fetch(self, listing: Listing, remote: Remote, part: Path, watch: Watch) -> Remote:
        """Write a file to `part`, after what stands there already. Gives what the hub says of the file itself.

        Raises UnknownName, MissingKey, Unavailable, BackendError, OSError (the disk).
        """
        files = library("huggingface_hub.file_download")
        url = files.hf_hub_url(listing.repo, remote.name, revision=listing.revision, endpoint=self.endpoint)
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        with self._told(f"{remote.name} of {listing.repo}", listing.repo):
            found = _patiently(lambda: self._metadata(files, url))
            if found.commit_hash not in (None, listing.revision):
                raise ValueError(f"{remote.name} is of the commit {found.commit_hash}, not {listing.revision}")
            size = remote.size if found.size is None else found.size
            if _origin(found.location) != _origin(self.endpoint):
                headers = {}  # a store; it is given no token
            _patiently(lambda: _append(files, found.location, part, headers, size, _bar(remote.name, size, watch)))
        etag = found.etag or ""
        linked = etag if len(etag) == 64 else None
        return Remote(remote.name, size, linked, None if linked else etag)

    def _metadata(self, files: Any, url: str) -> Any:
        return files.get_hf_file_metadata(
            url, token=self._token or False, timeout=TIMEOUT, library_name="agentfleet", endpoint=self.endpoint
        )

    @contextmanager
    def _told(self, what: str, repo: str) -> Iterator[None]:
        """Turns the library's errors into ours."""
        http = library("httpx2")
        try:
            yield
        except library("huggingface_hub.errors").HfHubHTTPError as error:
            raise self._refused(error, what, repo) from None
        except (http.HTTPError, ConnectionError) as error:
            raise Unavailable(
                f"the hub {self.host} cannot be reached for {what} ({type(error).__name__}). What was fetched is kept:"
                " run the command again to go on"
            ) from None
        except OSError as error:
            if error.errno is not None:  # the disk's
                raise
            raise BackendError(f"the hub {self.host} gave less than it said of {what}: run the command again") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendError(f"{self.host} does not answer as a hub does ({error}): correct HF_ENDPOINT") from None

    def _refused(self, error: Any, what: str, repo: str) -> AgentfleetError:
        kind, status = type(error).__name__, int(error.response.status_code)
        if kind == "GatedRepoError":
            return MissingKey(
                f"{repo} is gated. Accept its terms at {self.endpoint}/{repo}, make a token that may read at"
                f" {self.endpoint}/settings/tokens, and export it as HF_TOKEN{self._state()}"
            )
        if kind in ("RevisionNotFoundError", "RemoteEntryNotFoundError", "EntryNotFoundError"):
            return UnknownName(f"the hub {self.host} has no {what}")
        if status in (401, 403) or kind == "RepositoryNotFoundError":
            return MissingKey(
                f"the hub {self.host} shows no {repo}: there is none of that name, or it is private or gated. Then ask"
                f" for access at {self.endpoint}/{repo}, and export a token that may read it as HF_TOKEN{self._state()}"
            )
        if status == 404:
            return UnknownName(f"the hub {self.host} has no {what}")
        if status in _AGAIN:
            return Unavailable(
                f"the hub {self.host} answered {status} for {what}, {len(WAITS) + 1} times. What was fetched is kept:"
                " run the command again to go on"
            )
        return BackendError(f"the hub {self.host} answered {status} for {what}")

    def _state(self) -> str:
        return " (it is set, but its account has no access)" if self._token else " (it is not set)"


def library(name: str) -> Any:
    """A module of the extra `hub`. Raises MissingExtra when it cannot be imported."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"fetching models needs {name.partition('.')[0]}. Run: pip install 'agentfleet[hub]'"
        ) from error


def _check_address(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise UsageError("HF_ENDPOINT is https://HOST or http://HOST:PORT, with no name or password in it")


def is_offline() -> bool:
    """Does the environment say that no hub may be asked?"""
    return any(os.environ.get(name, "").upper() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _listing(repo: str, info: Any) -> Listing:
    if not re.fullmatch(REVISION, str(info.sha)) or info.siblings is None:
        raise ValueError("it names no commit")
    files = tuple(
        Remote(one.rfilename, one.size, one.lfs.sha256 if one.lfs else None, None if one.lfs else one.blob_id)
        for one in info.siblings
    )
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return Listing(repo, info.sha, files, tags[0] if tags else "")


def _patiently(call: Callable[[], T]) -> T:
    """The result of a call, tried again a little later when the hub is overloaded."""
    errors = library("huggingface_hub.errors")
    for wait in WAITS:
        try:
            return call()
        except errors.HfHubHTTPError as error:
            if error.response.status_code not in _AGAIN:
                raise
        time.sleep(wait)
    return call()


def _append(files: Any, url: str, part: Path, headers: dict[str, str], size: int | None, bar: type) -> None:
    with part.open("ab") as file:
        files.http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=size, tqdm_class=bar)
        file.flush()
        os.fsync(file.fileno())


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _bar(name: str, size: int | None, watch: Watch) -> type:
    """What http_get asks of a progress bar."""

    class Bar:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: Any) -> None:
            self.done, self.total = initial, total or size or 0
            watch(name, self.done, self.total)

        def update(self, count: int = 1) -> None:
            self.done += count
            watch(name, self.done, self.total)

        def close(self) -> None:
            """Nothing is open."""

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

    return Bar
