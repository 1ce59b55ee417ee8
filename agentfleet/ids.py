"""Stable ids and fingerprints. Floor 0."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> str:
    """A new run id: 16 characters, sorted by time of creation (48 bits of ms, 32 random), Crockford base 32."""
    number = (int(time.time() * 1000) << 32) | int.from_bytes(os.urandom(4), "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -5, -5))


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """The first 32 hex digits of SHA-256 over UTF-8 (lone surrogates kept, so that any str has one)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def fingerprint(*parts: Any) -> str:
    """A digest over JSON-able parts; 32 hex digits."""
    return digest(canonical_json(parts))
