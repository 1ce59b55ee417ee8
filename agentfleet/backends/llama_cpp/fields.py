"""How sure the model was of each field of a JSON answer, from the logits that it was decoded from.

The share of a field is the product of the probabilities of the tokens that the model chose in it. What the grammar
forced counts as certain. It is no probability of being right: nothing here is calibrated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

_SCAN = json.JSONDecoder()


def field_shares(text: str, pieces: Sequence[bytes], logs: Sequence[float]) -> dict[str, float]:
    """Field → share, for the fields of an object; for anything else one share under the name "".

    `pieces`: the bytes of each token of the text. `logs`: its log probability, 0 where it was forced.
    """
    tokens, at = [], 0
    for piece, log in zip(pieces, logs, strict=True):
        tokens.append((at, at + len(piece), log))
        at += len(piece)
    found = {}
    for name, start, stop in _spans(text):
        first, last = len(text[:start].encode()), len(text[:stop].encode())
        inside = sum(log for begin, end, log in tokens if begin < last and end > first)
        found[name] = math.exp(min(0.0, inside))
    return found


def _spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each field's value."""
    if not text.startswith("{"):
        yield "", 0, len(text)
        return
    at = 1
    while at < len(text) and text[at] != "}":
        name, at = _SCAN.raw_decode(text, _next(text, at, ","))
        start = _next(text, at, ":")
        _, at = _SCAN.raw_decode(text, start)
        yield name, start, at
        at = _next(text, at, "")


def _next(text: str, at: int, skipped: str) -> int:
    """The next place that is no white space and not this character."""
    while at < len(text) and (text[at].isspace() or text[at] == skipped):
        at += 1
    return at
