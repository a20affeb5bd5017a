"""What a service answers when it refuses, as errors that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.errors import PenstockError

URN: Final = "urn:penstock:problem:"


class Problem(PenstockError):
    """A service refused a request. `kind` is the stable word (`unknown-flow`), `code` the HTTP status, `detail` for
    people, and `members` whatever else the answer says; docs/http-api.md lists the kinds."""

    def __init__(self, kind: str, code: int, detail: str, members: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.code = code
        self.detail = detail
        self.members = dict(members or {})
        super().__init__(detail)


class NotFound(Problem):
    """What the request is about is not there, or out of reach."""


class Refused(Problem):
    """The request does not fit the state that it finds, or who asks may not do it."""


class BadRequest(Problem):
    """The request itself is wrong; `members["errors"]` names each fault."""


class Unauthorised(Refused):
    """The service wants a token, or another one."""


class Unavailable(Problem):
    """The service, or the database behind it, does not answer; `code` 0: nobody listens at this address."""


def problem_of(code: int, document: Any) -> Problem:
    """The error of an answer with this status; `document` is its body, if that was JSON."""
    told: Mapping[str, Any] = document if isinstance(document, Mapping) else {}
    kind = str(told.get("type", "")).removeprefix(URN) or "http-error"
    detail = str(told.get("detail") or f"the service answered {code}")
    return _class_of(code)(kind, code, detail, told)


def _class_of(code: int) -> type[Problem]:
    if code == 401:
        return Unauthorised
    if code == 404:
        return NotFound
    if code in (400, 405, 413, 415, 422):
        return BadRequest
    return Unavailable if code >= 500 else Refused
