"""The lab: a database, a clock that stands still, and a watcher that works when it is told to."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from engine.access import Actor
from engine.database import Database, open_database
from engine.dialects.held_clock import HeldClock, held
from engine.documents import text as documents
from penstock.client import Client
from penstock.doors.database import DatabaseDoor
from penstock.models import Wait
from penstock.testing.definitions import Edge, Step, Work, write
from penstock.testing.files import make_template
from penstock.testing.flow import LabFlow
from penstock.testing.programs import Programs
from penstock.testing.working import look_at, next_due, watch

__all__ = ["Lab", "Unsettled", "open_lab"]
F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S: Final = 60.0
ROUNDS: Final = 100
SLACK: Final = timedelta(seconds=0.05)
ACTOR: Final = "test"
PEOPLE: Final = ("approval", "form")


class Unsettled(AssertionError):
    """The flows of a lab did not come to rest; the message shows their tasks."""


class Lab:
    """Runs workflows in this process until nothing more can happen without time or people.

    Time stands still. It moves by `advance`, and everything that falls due on the way happens at its time. What runs is
    a real watcher, with one worker unless `workers` says otherwise: tasks run one after the other in the order in
    which they would be claimed.
    """

    def __init__(self, db: Database, clock: HeldClock) -> None:
        self.db = db
        self.clock = clock
        self.workers = 1
        self.timeout_s = TIMEOUT_S
        """How long, by the watch on the wall, everything may take to come to rest."""
        self.http_networks: Sequence[str] = ()
        """Internal networks to which programs may send requests, as `127.0.0.1:8000` for a server of the test."""
        self.programs = Programs()
        self.client = self._as(ACTOR)
        """All that can be read and asked for; what is asked for so is not worked on before `work()`."""

    # --- definitions --------------------------------------------------------------------------------------------------

    @overload
    def program(self, function: F, /) -> F: ...
    @overload
    def program(self, name: str | None = None, /) -> Callable[[F], F]: ...
    def program(self, function: Any = None, /) -> Any:
        """Make a program of a function of the test, named like it or as given: `@lab.program`, `@lab.program("Load")`.

        It takes the place of an installed program of that name. A first parameter `call` gets the call.
        """
        if callable(function):
            self.programs.add(function)
            return function

        def decorate(decorated: F) -> F:
            self.programs.add(decorated, function)
            return decorated

        return decorate

    def define(
        self, task_id: str, *steps: Work | Step, edges: Sequence[tuple[int, int] | Edge] | None = None, **options: Any
    ) -> None:
        """Define a workflow, in place of what is called so: `lab.define("load", fetch, step("Load", max_attempts=3))`.

        A step is a program's name, a program, a function of the test, or a `step(...)` with more to say. Without
        `edges` they run one after the other; an edge is `(before, after)`, counted from 1, or an `edge(...)`. `options`
        are columns of `ms_workflow`: `failure_policy`, `timeout_s`, `parameters` ... Errors: TypeError: no such option.
        """
        whole = [one if isinstance(one, Step) else Step(one) for one in steps]
        names = [one.program if isinstance(one.program, str) else self.programs.add(one.program) for one in whole]
        ends = None if edges is None else [one if isinstance(one, Edge) else Edge(*one) for one in edges]
        self.db.transact(lambda conn: write(conn, task_id, whole, names, ends, options))

    def apply(self, file: Path) -> None:
        """Define what a file says that is applied elsewhere: TOML, JSON or SQL. Errors: BadDocument, Refused for what
        cannot run; ValueError for a file of another kind."""
        text, kind = file.read_text(), file.suffix.removeprefix(".")
        if kind == "sql":
            self.sql(text)
        elif kind in ("toml", "json"):
            said = documents.parse(text, kind)
            if not isinstance(said, dict) or not isinstance(said.get("task_id"), str):
                raise ValueError(f"{file.name} does not say its task_id")
            self.client.apply(said["task_id"], text, format=kind)
        else:
            raise ValueError(f"{file.name}: a file of workflows ends in .toml, .json or .sql")

    def sql(self, script: str) -> None:
        """Run a script of SQL: rows as a person writes them."""
        with closing(sqlite3.connect(str(self.db.url.database))) as connection:
            connection.executescript(script)

    # --- flows --------------------------------------------------------------------------------------------------------

    def register(self, task_id: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> LabFlow:
        """Start a flow, and let nothing of it happen yet. `options` as of `Client.register`. Errors: its own."""
        return LabFlow(self, self.client.register(task_id, parameters, **options))

    def run(self, task_id: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> LabFlow:
        """Start a flow, and work until nothing more can happen without time or people."""
        flow = self.register(task_id, parameters, **options)
        self.work()
        return flow

    def flow(self, flow_id: str) -> LabFlow:
        """A flow by its id, a sub-flow for instance."""
        return LabFlow(self, flow_id)

    @property
    def flows(self) -> list[LabFlow]:
        """All of them, the latest first."""
        return [LabFlow(self, flow.id) for flow in self.client.flows()]

    # --- what happens -------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Let a watcher work until nothing more can happen without time or people. Errors: Unsettled."""
        seen = look_at(self.db)
        if not (seen.anything or seen.mail or seen.turns):
            return
        ends = time.monotonic() + self.timeout_s
        for _ in range(ROUNDS):
            if not watch(self.db, self.programs, self.workers, self.http_networks, ends, on_late=self._late):
                return
        raise Unsettled(f"there is always more to do, after {ROUNDS} rounds\n{self.tables()}")

    def _late(self) -> Unsettled:
        return Unsettled(f"something still runs after {self.timeout_s:g} s (lab.timeout_s)\n{self.tables()}")

    def advance(self, seconds: float = 0.0, **length: float) -> None:
        """Move time on, by seconds or as `timedelta` takes it (`minutes=5`), and let happen what falls due on the way,
        each at its time. What is due a twentieth of a second later happens as well: no test should hang on the time
        that a statement takes. Errors: Unsettled; ValueError for time that runs backwards."""
        by = timedelta(seconds=seconds, **length)
        if by < timedelta(0):
            raise ValueError(f"{by} is less than nothing: time goes forwards only")
        ends = self.clock.now + by
        self.work()
        while (next_at := next_due(self.db, self.clock)) is not None and next_at <= ends + SLACK:
            self._move_to(next_at)
            self.work()
        self._move_to(ends)
        self.work()

    def _move_to(self, instant: datetime) -> None:
        self.clock.advance(max(0.0, (instant - self.clock.now).total_seconds()))

    @property
    def now(self) -> datetime:
        """The time of the lab."""
        return self.clock.now

    def answer(self, wait: LabFlow | Wait | str, payload: Any = None, *, by: str = ACTOR) -> None:
        """Answer an approval (`{"approved": True}`) or a form as the person `by`, and work on. A flow stands for the
        only one that it awaits. Errors: LookupError if it awaits none or several; those of `Client.answer`."""
        self._as(by).answer(_wait_id(wait), payload)
        self.work()

    def approve(self, wait: LabFlow | Wait | str, *, by: str = ACTOR) -> None:
        """Say yes to an approval, and work on."""
        self.answer(wait, {"approved": True}, by=by)

    def send(self, name: str, key: str, payload: Any = None, *, expires_s: float | None = None) -> None:
        """Send a message, and work on."""
        self.client.send(name, key, payload, expires_s=expires_s)
        self.work()

    def call_back(self, token: str, payload: Any = None) -> None:
        """Give a payload to the task that gave the token away, and work on."""
        self.client.call_back(token, payload)
        self.work()

    def tables(self) -> str:
        """The tasks of every flow, for people."""
        return "\n\n".join(flow.table() for flow in self.flows) or "no flow has been registered"

    def _as(self, person: str) -> Client:
        return Client.through(DatabaseDoor(self.db, Actor(person), self.programs.check), patience_s=0.0)


@contextmanager
def open_lab(folder: Path, *, template: Path | None = None, start: datetime | None = None) -> Iterator[Lab]:
    """A lab with a database of its own, `lab.db` in `folder`. `template`: a file with the tables, to be copied;
    `start`: the time that it begins with, the host's unless given."""
    path = folder / "lab.db"
    shutil.copyfile(template or make_template(folder), path)
    with ExitStack() as stack:
        clock = stack.enter_context(held(str(path), start))
        db = open_database(f"sqlite:///{path}", role="lab")
        stack.callback(db.close)
        yield Lab(db, clock)


def _wait_id(wait: LabFlow | Wait | str) -> str:
    if isinstance(wait, str):
        return wait
    if isinstance(wait, Wait):
        return wait.wait_id
    found = [one for one in wait.waits if one.kind in PEOPLE]
    if len(found) != 1:
        there = ", ".join(f"{one.kind} {one.name!r}" for one in found) or "nothing of a person"
        raise LookupError(f"{wait!r} awaits {there}: name the one that is meant (flow.waits)")
    return found[0].wait_id
