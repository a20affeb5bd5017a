"""Who may do what: roles in one order, the workflows that somebody reaches, and who asks for something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, true

from engine.errors import BadRequest, Forbidden


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Read, with secrets masked."""
    WORKER = "worker"
    """Claim tasks, and say what became of them."""
    OPERATOR = "operator"
    """Register, and steer what runs: retry, cancel, ignore, pause, answer, drain."""
    AUTHOR = "author"
    """Write definitions: what decides which programs run."""
    ADMIN = "admin"
    """Tokens and people."""

    def covers(self, other: Role) -> bool:
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER: Final = tuple(Role)
MAX_PATTERNS: Final = 100


@dataclass(frozen=True)
class Reach:
    """The workflows whose definitions and flows somebody may see and act on: those that fit one of the patterns, in
    which a `*` at the end stands for any text. None is all of them.

    Lists narrow their query by `condition`, and whatever is found by its id is asked `covers`: one rule for both.
    """

    patterns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for pattern in self.patterns or ():
            if not 1 <= len(pattern) <= 256 or "*" in pattern[:-1] or "\x00" in pattern:
                raise BadRequest(
                    "workflows", f"{pattern!r}: a pattern is an id of a workflow, or how it begins and a *"
                )
        if len(self.patterns or ()) > MAX_PATTERNS:
            raise BadRequest("workflows", f"names more than {MAX_PATTERNS} patterns")

    @property
    def is_all(self) -> bool:
        return self.patterns is None or "*" in self.patterns

    def covers(self, task_id: str) -> bool:
        return self.is_all or any(_fits(pattern, task_id) for pattern in self.patterns or ())

    def contains(self, other: Reach) -> bool:
        """Does this reach everything that the other one does?"""
        if self.is_all or other.is_all:
            return self.is_all
        return all(any(_holds(own, pattern) for own in self.patterns or ()) for pattern in other.patterns or ())

    def condition(self, column: Any) -> ColumnElement[bool]:
        """For a column that holds the id of a workflow."""
        if self.is_all:
            return true()
        exact = [pattern for pattern in self.patterns or () if not pattern.endswith("*")]
        begun = [pattern[:-1] for pattern in self.patterns or () if pattern.endswith("*")]
        return or_(column.in_(exact), *(_begins_with(column, text) for text in begun))


EVERYTHING: Final = Reach()


@dataclass(frozen=True)
class Actor:
    """Who asks, from where, and what they may. `door`: http, cli, sdk or sql; `address` and `request_id` are of a
    request over HTTP."""

    name: str
    role: Role = Role.ADMIN
    reach: Reach = field(default=EVERYTHING)
    door: str = "sdk"
    address: str | None = None
    request_id: str | None = None

    def needs(self, role: Role, what: str) -> None:
        """Errors: Forbidden."""
        if not self.role.covers(role):
            raise Forbidden(self.name, what, f"that takes the role {role}, not {self.role}")

    def needs_all(self, what: str) -> None:
        """Refuse whoever reaches only some workflows. Errors: Forbidden."""
        if not self.reach.is_all:
            raise Forbidden(self.name, what, "that concerns workflows beyond those that it reaches")


def _begins_with(column: Any, text: str) -> ColumnElement[bool]:
    """Not LIKE, which takes `A` for `a` on SQLite; the comparison is for the index."""
    return and_(column >= text, func.substr(column, 1, len(text)) == text)


def _fits(pattern: str, task_id: str) -> bool:
    return task_id.startswith(pattern[:-1]) if pattern.endswith("*") else task_id == pattern


def _holds(pattern: str, other: str) -> bool:
    """Does everything that fits the other pattern fit this one?"""
    if other.endswith("*"):
        return pattern.endswith("*") and other.startswith(pattern[:-1])
    return _fits(pattern, other)


def read_reach(patterns: Sequence[Any] | None) -> Reach:
    """The reach that a document says. Errors: BadRequest."""
    if patterns is None:
        return EVERYTHING
    if not isinstance(patterns, list | tuple) or not all(isinstance(pattern, str) for pattern in patterns):
        raise BadRequest("workflows", "is no list of patterns")
    return Reach(tuple(patterns))
