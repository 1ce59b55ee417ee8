"""Stable ids and fingerprints. Floor 0."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from typing import Any

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> str:
    """A new run id: 16 characters, sorted by time of creation (48 bits of ms, 32 random), Crockford base 32."""
    number = (int(time.time() * 1000) << 32) | _random_32()
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -5, -5))


_POOL_BYTES = 4096
_pool = bytearray()
_pool_lock = threading.Lock()


def _random_32() -> int:
    """32 random bits of the system, which is asked once for many."""
    with _pool_lock:
        if not _pool:
            _pool.extend(os.urandom(_POOL_BYTES))
        four = _pool[-4:]
        del _pool[-4:]
    return int.from_bytes(four, "big")


def _forked() -> None:
    """A child process may not draw what its parent draws, nor wait for a lock that nobody holds there."""
    global _pool_lock
    _pool.clear()
    _pool_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """The first 32 hex digits of SHA-256 over UTF-8 (lone surrogates kept, so that any str has one)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def fingerprint(*parts: Any) -> str:
    """A digest over JSON-able parts; 32 hex digits."""
    return digest(canonical_json(parts))
