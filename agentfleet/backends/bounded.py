"""The HTTP client under the SDKs: it follows no redirect, and no answer is read further than it may be long.

An SDK reads a body whole before anyone can look at it, so the bound stands here, in the stream of bytes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 4_000_000
"""Longest answer, in bytes, where the fleet file does not say otherwise."""


class Unread(Exception):
    """An answer that was not taken; the text goes on from "the answer of HOST"."""


def http_client(base_url: str, most: int = MOST_BYTES) -> Any:
    """An `httpx2.AsyncClient`. No redirect, so that the key goes to no other host; on loopback no proxy.

    `most`: bytes of an answer; a longer one is an `Unread` and its connection is closed.
    """
    import httpx2

    class Counted(httpx2.AsyncByteStream):
        """A body that ends with an error where it grows too long."""

        def __init__(self, stream: Any) -> None:
            self.stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self.stream:
                size += len(chunk)
                if size > most:
                    raise Unread(_too_long(most))
                yield chunk

        async def aclose(self) -> None:
            await self.stream.aclose()

    async def check(response: Any) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            # Compressed, a few kilobytes may unfold to gigabytes; that none is wanted was said in the request.
            raise Unread("is compressed, though that was not asked for")
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise Unread(_too_long(most))
        response.stream = Counted(response.stream)
        if response.is_success and "json" in response.headers.get("content-type", "json"):
            _once_each(await response.aread())

    local = (urlsplit(base_url).hostname or "") in ("127.0.0.1", "::1", "localhost")
    return httpx2.AsyncClient(
        follow_redirects=False,
        trust_env=not local,
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [check]},
    )


def _too_long(most: int) -> str:
    return f"is longer than {most} bytes (max_answer_bytes) and was not read"


def _once_each(body: bytes) -> None:
    """Raise Unread for a key that stands twice in one object. The SDKs keep the last one and say nothing."""
    try:
        json.loads(body, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):  # no JSON at all: the SDK says so
        return


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unread("holds a key twice in one object")
    return found
