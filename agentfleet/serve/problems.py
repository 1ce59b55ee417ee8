"""What a client is told when a request cannot be answered: always JSON, in the shape of OpenAI's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

from agentfleet.backends.llama_cpp.grammar import Unfit
from agentfleet.errors import BackendError, CallTimeout


class Problem(Exception):
    """A request that ends in an error. `status`: of HTTP; `param`: the field at fault; `code`: for programs.

    `more`: further fields of the error object. `retry_after`: seconds, for 429 and 503.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.more = more

    def body(self) -> dict[str, Any]:
        """The error as JSON data."""
        kind = "server_error" if self.status >= 500 else _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code, **self.more}}

    def response(self) -> JSONResponse:
        """The error as a response."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return JSONResponse(self.body(), self.status, headers)


_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


def of_validation(error: ValidationError, body: Any, status: int = 400) -> Problem:
    """The first thing that is wrong with a body, with the path of its field."""
    first = _deepest(error.errors(include_url=False, include_input=False))
    param = _path(first["loc"], body, first["type"] == "missing") or None
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "this field is unknown or not served here; leave it out"
    return Problem(status, f"{param}: {message}" if param else message, param)


def _deepest(errors: Sequence[Any]) -> Any:
    """The first error; where a field may be of several kinds, what is wrong with the kind that came nearest."""
    alike = [found for found in errors if found["loc"][:1] == errors[0]["loc"][:1]]
    return max(alike, key=lambda found: len(found["loc"]))


def _path(place: Sequence[str | int], body: Any, missing: bool) -> str:
    """A field's path as the client wrote it: without the names of our types that pydantic puts between."""
    found = []
    for index, part in enumerate(place):
        inside = part in body if isinstance(body, Mapping) else isinstance(body, list) and isinstance(part, int)
        if inside:
            body = body[part]
        if inside or (missing and index == len(place) - 1):
            found.append(str(part))
    return ".".join(found)


def of_backend(error: BackendError) -> Problem:
    """What went wrong in the model."""
    if isinstance(error, Unfit):
        return Problem(400, str(error), "response_format", "unsupported_schema")
    if isinstance(error, CallTimeout):
        return Problem(504, str(error), code="timeout")
    return Problem(500, str(error), code="backend_error")
