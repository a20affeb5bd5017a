"""What a command is: a verb for a kind of subject, its arguments as a model, the role that it takes, and its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from engine.access import Actor, Role
from engine.commands.changes import Done
from engine.database import Database
from engine.definition.reading import Check


class Noun(StrEnum):
    """What a command is about; its subject is the id or the name of one such thing."""

    FLOW = "flow"
    WORKFLOW = "workflow"
    QUEUE = "queue"
    LIMIT = "limit"
    WAIT = "wait"
    MESSAGE = "message"
    WATCHER = "watcher"
    TOKEN = "token"
    PRINCIPAL = "principal"
    EVERYTHING = "everything"
    """No subject: what is meant stands in the arguments."""


class Arguments(BaseModel):
    """What a command is told beside its subject; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArguments(Arguments):
    """A command that is told nothing more."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Asked(Generic[A]):
    """One request, checked: whoever asks may ask for this, of this subject."""

    subject: str
    arguments: A
    actor: Actor
    reason: str | None = None
    check: Check | None = None
    """What finds steps that no program fits, for those who know the programs."""
    ahead: Any = None
    """What the command looked up ahead of the transaction."""


Work = Callable[[Connection, Database, Asked[Any]], Done]


@dataclass(frozen=True)
class Command:
    """One thing that an operator may ask for."""

    name: str
    """The word in `kr_command.verb`, and of the engine's function."""
    noun: Noun
    about: str
    """One line for help texts and descriptions."""
    work: Work
    """Does it, in the caller's transaction, and says what it answers and what it changed. May run several times."""
    arguments: type[Arguments] = NoArguments
    role: Role = Role.OPERATOR
    is_checked_by_itself: bool = False
    """It looks at the reach of who asks on its own: by its filter, its token, or what it hands on."""
    concealed: frozenset[str] = frozenset()
    """Arguments, and columns that it changes, that are recorded as `***`."""
    ahead: Callable[[Database, Asked[Any]], Any] | None = None
    """What may take long, and is looked up before the transaction begins."""
    in_parts: Callable[[Database, Asked[Any]], Done] | None = None
    """Does it in transactions of its own, for doors that need not see it done in one."""
    afterwards: Callable[[], None] | None = None
    """What this process does once it is committed."""

    @property
    def verb(self) -> str:
        """The word behind the noun, where that has been said already: `pause` of the queue, for `pause_queue`."""
        return self.name.removesuffix(f"_{self.noun}")
