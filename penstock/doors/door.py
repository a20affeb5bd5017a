"""What a door offers. Documents are those of the API (docs/api.md), whatever stands behind the door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from engine.queries.flows import with_result
from engine.queries.pages import MAX_PAGE

Document = dict[str, Any]


class Page(NamedTuple):
    """Some rows of a list, and the cursor of the following page; None at the end."""

    rows: list[Document]
    next: str | None


class Door(ABC):
    """Reads and commands. Errors: `PenstockError`; over HTTP those of penstock/doors/problems.py."""

    where: str
    """The database or the service, without what is secret."""
    backslashes = False
    """Does a database read a backslash in a text of SQL as a sign for something else?"""

    @abstractmethod
    def flows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        """Flows, newest first. `where`: task_id, status, run_key, tag, registered_after, registered_before, text."""

    @abstractmethod
    def flow(self, flow_id: str) -> Document: ...

    @abstractmethod
    def tasks(self, flow_id: str, *, limit: int = 50, cursor: str | None = None, status: int | None = None) -> Page: ...

    @abstractmethod
    def task(self, flow_id: str, seq: int) -> Document: ...

    @abstractmethod
    def failures(self, *, limit: int = 50) -> list[Document]:
        """Suspended tasks, the latest first, each with its last try."""

    @abstractmethod
    def edges(self, flow_id: str, *, limit: int = 50, cursor: str | None = None) -> Page: ...

    @abstractmethod
    def waits_of(self, flow_id: str) -> list[Document]: ...

    @abstractmethod
    def logs(self, flow_id: str, seq: int) -> list[Document]: ...

    @abstractmethod
    def why(self, flow_id: str, seq: int | None = None) -> Document:
        """What the open tasks of a flow, or one of its tasks, wait for, and what would let them go on."""

    @abstractmethod
    def queues(self) -> list[Document]: ...

    @abstractmethod
    def limits(self) -> list[Document]: ...

    @abstractmethod
    def watchers(self) -> list[Document]: ...

    @abstractmethod
    def waits(self, *, kind: str | None = None, limit: int = 50, cursor: str | None = None) -> Page: ...

    @abstractmethod
    def commands(
        self, *, subject: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Newest first; or behind the number `after`, oldest first."""

    @abstractmethod
    def events(
        self, *, flow_id: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Newest first; or behind the number `after`, oldest first."""

    @abstractmethod
    def follow(self, *, flow_id: str | None = None, after: int | None = None) -> Iterator[Document]:
        """Events as they happen, from now on or from behind a number; never ends by itself."""

    @abstractmethod
    def tokens(self, *, kind: str = "api", limit: int = 50, cursor: str | None = None) -> Page:
        """Newest first. `kind`: api, or session for those of browsers."""

    @abstractmethod
    def principals(self, *, limit: int = 50, cursor: str | None = None) -> Page:
        """People who log in elsewhere, by name."""

    @abstractmethod
    def stats(self) -> Document: ...

    @abstractmethod
    def series(self, **where: Any) -> list[Document]:
        """`where`: limit, after, before, task_id."""

    @abstractmethod
    def ask(
        self,
        verb: str,
        subject: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Document:
        """Carry a command out (docs/commands.md). Shape: its answer."""

    @abstractmethod
    def workflows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        """By id. `where`: text, tag, owner."""

    @abstractmethod
    def workflow(self, task_id: str) -> Document:
        """As a `document`, with its version and its stamp."""

    @abstractmethod
    def versions(self, task_id: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Those that are kept, newest first."""

    @abstractmethod
    def version(self, task_id: str, version_id: str) -> Document: ...

    @abstractmethod
    def diff(self, task_id: str, older: str | None = None, newer: str | None = None) -> Document: ...

    @abstractmethod
    def run_script(self, text: str, reason: str | None = None, *, dry_run: bool = False) -> list[Document]:
        """Run a SQL file that defines workflows. Shape: an answer for each that it touched."""

    def all_tasks(self, flow_id: str) -> list[Document]:
        """Every task of a flow, page by page."""
        found: list[Document] = []
        cursor: str | None = None
        while True:
            page = self.tasks(flow_id, limit=MAX_PAGE, cursor=cursor)
            found += page.rows
            if (cursor := page.next) is None:
                return found

    def whole_flow(self, flow_id: str) -> Document:
        """A flow with all its tasks, and with its result."""
        return with_result({**self.flow(flow_id), "tasks": self.all_tasks(flow_id)})

    @abstractmethod
    def register_many(self, task_id: str, lines: Sequence[bytes]) -> Document:
        """Start a flow for each line of JSON, as `POST /api/v1/workflows/{task_id}/register` takes them. Shape: its
        answer. Errors: that of the first, if none can be made."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
