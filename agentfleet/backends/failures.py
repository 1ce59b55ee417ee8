"""From an SDK's exception to one of ours: what went wrong, where, what to do, whether and when to try again.

Knows the two SDKs only by the shape that their errors share, so it imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from agentfleet.backends.bounded import Unread
from agentfleet.errors import AgentfleetError, BackendError, CallTimeout, Refused, Unavailable

_POLICY = ("content_filter", "content_policy_violation", "invalid_prompt", "moderation_blocked")
_BUSY = frozenset({409, 425, 429})
_FOR_GOOD = frozenset({501, 505})
_SPENT = "insufficient_quota"
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Where:
    """Names the call in a message. `limit`: seconds that it had."""

    name: str
    model: str
    host: str
    limit: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Explains exceptions of one call; `redact` takes secrets out of what a server said."""

    where: Where
    redact: Callable[[str], str]

    def explain(self, error: BaseException) -> BackendError:
        """The error to raise for an exception of an SDK or of instructor."""
        cause = _root(error)
        if isinstance(cause, BackendError):
            return cause
        unread = _unread(cause)
        if unread:
            return Unavailable(f"{self.where.name}: the answer of {self.where.host} {unread}")
        if isinstance(cause, TimeoutError) or _is_a(cause, "APITimeoutError") or _is_a(cause, "TimeoutException"):
            return CallTimeout(f"{self.where.name} did not answer within {self.where.limit:g} s")
        status = getattr(cause, "status_code", None)
        if isinstance(status, int) and status >= 300 and _is_a(cause, "APIStatusError"):
            return self._by_status(status, cause)
        if _is_a(cause, "APIConnectionError") or _is_a(cause, "TransportError"):  # the latter in a stream
            return Unavailable(f"{self.where.name}: cannot reach {self.where.host} ({_deepest(cause)})", retryable=True)
        if _in_a_stream(cause, status):
            said = self._short(_message(cause))
            again = _code(cause) not in (_SPENT, "invalid_request_error")
            return Unavailable(f"{self.where.name}: {self.where.host} broke off its answer: {said}", retryable=again)
        if _is_a(cause, "APIResponseValidationError") or isinstance(cause, ValueError):
            return Unavailable(f"{self.where.name}: {self.where.host} answered with something that is not JSON")
        return BackendError(f"{self.where.name}: {type(cause).__name__}: {self._short(str(cause))}")

    def _by_status(self, status: int, cause: BaseException) -> BackendError:
        said = self._short(_message(cause))
        head = f"{self.where.name}: {self.where.host} answered {status}"
        if status < 400:
            return BackendError(f"{head}, a redirect, which is not followed; give the final address as base_url")
        if _code(cause) in _POLICY:
            return Refused(f"{head}: {said}")
        if status in _BUSY or status >= 500:
            headers = _headers(cause)
            return Unavailable(f"{head}: {said}", retry_after(headers), _again(status, cause, headers), status)
        if status == 408:
            return CallTimeout(f"{head}: {said}")
        return BackendError(f"{head}: {said}{_advice(status, self.where)}")

    def _short(self, text: str) -> str:
        flat = " ".join(self.redact(text).split())
        return flat if len(flat) <= _LONGEST else flat[:_LONGEST] + "…"


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, else `retry-after` as seconds or as a date."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _in_a_stream(error: BaseException, status: Any) -> bool:
    """Is it an error that a server sent in the middle of a stream? The SDKs have no class for that."""
    return type(error).__name__ == "APIError" or (
        _is_a(error, "APIStatusError") and status is not None and status < 300
    )


def _again(status: int, cause: BaseException, headers: Mapping[str, str]) -> bool:
    """May the same request succeed later? The server's own word first, as the SDKs take it."""
    told = headers.get("x-should-retry")
    if told in ("true", "false"):
        return told == "true"
    return status not in _FOR_GOOD and _code(cause) != _SPENT


def _unread(error: BaseException | None) -> str:
    """What `backends.bounded` found wrong with an answer that it did not read to its end; "" for another error."""
    while error is not None:
        if isinstance(error, Unread):
            return str(error)
        error = error.__cause__
    return ""


def _advice(status: int, where: Where) -> str:
    if status in (401, 403):
        return f" (the key was not accepted: check the variable that `key` of {where.name!r} names)"
    if status == 404:
        return f" (check base_url, and that the server has the model {where.model!r})"
    return ""


def _root(error: BaseException) -> BaseException:
    """instructor wraps what happened; the SDK's or pydantic's own error is its cause."""
    while type(error).__module__.startswith("instructor") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _deepest(error: BaseException) -> str:
    while error.__cause__ is not None and not isinstance(error.__cause__, AgentfleetError):
        error = error.__cause__
    return type(error).__name__


def _is_a(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _headers(error: BaseException) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    return found


def _detail(error: BaseException) -> Mapping[str, Any]:
    """The error object in the body: OpenAI's SDK has unpacked it, Anthropic's has not."""
    body = getattr(error, "body", None)
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, Mapping) else body


def _message(error: BaseException) -> str:
    message = _detail(error).get("message")
    return message if isinstance(message, str) else "no reason given"


def _code(error: BaseException) -> str:
    detail = _detail(error)
    return str(detail.get("code") or detail.get("type") or "")
