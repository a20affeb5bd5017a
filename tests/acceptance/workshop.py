"""Programs that keep a record of what they did, and whole watchers that run them: flows of any shape, as users do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from factories import define_graph, flow, tasks
from invariants import hold
from patience import until
from sqlalchemy import insert

from engine.database import Database
from engine.states import Status
from engine.tables import task_option, workflow
from penstock import Call, Fail, program
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

Act = Callable[[Call], Any]
QUICK: dict[str, Any] = {
    "interval_s": 0.05,
    "ahead_s": 0.0,
    "heartbeat_in": "thread",
    "http_networks": ("127.0.0.1",),
}
"""No process of its own for the heartbeat: hundreds of these watchers live for a moment only. Programs may call the
receiver of a test."""
STEPS = ("Work", "Prepare", "Tidy", "Undo")
"""The programs of a workshop: for a step itself, before it, after it, and for its roll-back."""


class Workshop:
    """`does` says what a program of STEPS does at a step, `("Work", 4)` or shorter `4`; without an entry it finishes.

    `ran` is what has begun, in order, as (program, task_seq); `most` is how many ran at the same moment, at most.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self.does: dict[int | tuple[str, int], Act] = {}
        self.ran: list[tuple[str, int]] = []
        self.most = 0
        self._lock = threading.Lock()
        self._running = 0
        self._programs = [self._program(name) for name in STEPS]

    @property
    def worked(self) -> list[int]:
        """The steps themselves that have begun, in order."""
        return [seq for name, seq in self.ran if name == "Work"]

    def forget(self) -> None:
        """Let the record begin anew."""
        self.ran.clear()

    def _program(self, name: str) -> Any:
        @program(name)
        def run(call: Call, **given: Any) -> Any:
            with self._lock:
                self.ran.append((name, call.task_seq))
                self._running += 1
                self.most = max(self.most, self._running)
            try:
                act = self.does.get((name, call.task_seq))
                if act is None and name == "Work":
                    act = self.does.get(call.task_seq)
                return None if act is None else act(call)
            finally:
                with self._lock:
                    self._running -= 1

        return run

    @contextmanager
    def watching(self, *more: Any, **settings: Any) -> Iterator[Watcher]:
        """A watcher that works meanwhile, on connections of its own."""
        own = self.db.twin("watcher", 10)
        catalogue = build_catalogue(extra=[*self._programs, *more], autoload=False)
        watcher = Watcher(own, catalogue, Settings(**{**QUICK, **settings}))
        errors: list[BaseException] = []

        def work() -> None:
            try:
                watcher.run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield watcher
        finally:
            watcher.stop()
            thread.join(30)
            own.close()
        assert not thread.is_alive(), "the watcher did not end"
        assert not errors, errors

    def run(self, *flow_ids: str, **settings: Any) -> None:
        """Let a watcher work until nothing moves in these flows any more."""
        with self.watching(**settings):
            for flow_id in flow_ids:
                self.until(lambda flow_id=flow_id: self.rests(flow_id))
        hold(self.db)

    def rests(self, flow_id: str) -> bool:
        """Has it ended, or is nothing left in it that a watcher could do?"""
        now = flow(self.db, flow_id)
        if now.closing == 1 and now.flow_status in (Status.FINISH, Status.IGNORE):
            return False
        if now.flow_status in (Status.FINISH, Status.IGNORE):
            return True
        moving = [row for row in tasks(self.db, flow_id) if row.exec_status in (Status.WAIT, Status.RUNNING)]
        return now.flow_status == Status.SUSPEND and not any(
            row.exec_status == Status.RUNNING or row.wait_count in (None, 0) or row.due_ts is not None for row in moving
        )

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
        """Wait for the condition and return what made it true."""
        return until(condition, seconds)

    # --- workflows as rows --------------------------------------------------------------------------------------------

    def define(
        self,
        task_id: str,
        edges: Sequence[tuple[int, int]],
        options: Mapping[int, Mapping[str, Any]] | None = None,
        **extras: Any,
    ) -> None:
        """A workflow of steps that do `Work`: edges (before, after), `options` by step, `extras` of ms_workflow."""
        define_graph(self.db, task_id, edges, program="Work")
        with self.db.transaction() as conn:
            for seq, columns in (options or {}).items():
                conn.execute(insert(task_option).values(task_id=task_id, task_seq=seq, **columns))
            if extras:
                conn.execute(insert(workflow).values(task_id=task_id, **extras))

    def ends(self, flow_id: str) -> dict[int, int]:
        """The status of each step, by task_seq."""
        return {row.task_seq: row.exec_status for row in tasks(self.db, flow_id) if row.phase is None}


def failing(call: Call) -> Fail:
    return Fail("failed on request")
