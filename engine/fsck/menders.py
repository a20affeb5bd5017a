"""What can be mended without a person, each by the engine's own functions, under the locks of what is changed.

Nothing here runs a task, brings one back that has ended, or takes the word of a row for more than a recount can show.
A mender is given violations and looks again under the lock: what has come right meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, case, exists, null, select, update

from engine import flow_counts, supervise, task_logs
from engine.adopt import Adopter
from engine.database import Database
from engine.dialects.clock import now
from engine.ending import closing
from engine.fsck.checking import GRACE_S, Looker, Violation
from engine.fsck.invariant import Invariant
from engine.fsck.registry import INVARIANTS
from engine.fsck.scope import Scope
from engine.graph import edges, routing
from engine.graph.dependencies import Policy, count_awaited, lock_tasks, raise_behind
from engine.graph.trigger_rules import Verdict
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of
from engine.states import PASSED_ON, READY, SETTLED, Reason, Status
from engine.tables import IS_OPEN_WAIT, message, task_stat, wait
from engine.transitions import move
from engine.waiting import waits

MAX_PASSES: Final = 1_000
_OPEN: Final = (int(Status.WAIT), int(Status.SUSPEND))


@dataclass(frozen=True)
class Task:
    """What a mender is given: an invariant, rows that break it, and how to look whether they still do."""

    db: Database
    policy: Policy
    looker: Looker
    invariant: Invariant
    violations: Sequence[Violation]

    @property
    def keys(self) -> list[Key]:
        return sorted({violation.key for violation in self.violations})

    @property
    def flow_ids(self) -> list[str]:
        return sorted({violation.flow_id for violation in self.violations})

    def still_broken(self, conn: Connection, invariant: Invariant | None = None) -> list[Violation]:
        """Those that break it now, as this transaction sees them."""
        keys = set(self.keys)
        seen = self.looker.look_in(conn, invariant or self.invariant, Scope(flows=tuple(self.flow_ids)))
        return [violation for violation in seen if violation.key in keys]

    def under_lock(self, work: Callable[[Connection, list[Violation]], None]) -> None:
        """Do it for what is still broken once the tasks are locked."""

        def locked(conn: Connection) -> None:
            lock_tasks(conn, self.db, self.keys)
            if broken := self.still_broken(conn):
                work(conn, broken)

        self.db.transact(locked)


@dataclass(frozen=True)
class Mender:
    """`what` says what it does; `fits` whether it can do it for a violation."""

    what: str
    work: Callable[[Task], None]
    fits: Callable[[Violation], bool] = lambda violation: True


def recount(conn: Connection, db: Database, keys: Collection[Key], policy: Policy) -> None:
    """Write `wait_count` of locked open tasks from the rows; wake what is ready, skip what nothing leads to any more.
    One whose predecessor has been deleted is left to the adopter, which says so."""
    task = task_stat.c
    open_now = task.exec_status.in_(_OPEN), task.wait_count >= READY
    counted = count_awaited(conn, keys, policy)
    skipped = [key for key, awaited in counted.items() if awaited.verdict is Verdict.SKIP]
    groups: dict[int | None, list[Key]] = {}
    for key, awaited in counted.items():
        groups.setdefault(None if awaited.missing else awaited.open_count, []).append(key)
    due = case((task.due_ts.isnot(None), 1), else_=0)
    for count, alike in groups.items():
        written = null() if count is None else count + due
        for part in chunks(sorted(alike)):
            conn.execute(update(task_stat).where(among(part), *open_now).values(wait_count=written))
    if skipped:  # those behind are told by the sweep
        move(conn, "skip", skipped, wait_count=READY, due_ts=None, reason=Reason.SKIPPED)
    routing.catch_up(conn, db, counted.values(), policy)
    flow_counts.recount(conn, db, {key.flow_id for key in keys})
    db.dialect.notify(conn)


def _recount_tasks(task: Task) -> None:
    def work(conn: Connection, broken: list[Violation]) -> None:
        recount(conn, task.db, {violation.key for violation in broken}, task.policy)

    task.under_lock(work)


def _recount_flows(task: Task) -> None:
    """Not where tasks have gone: a recount would make that look as if it had always been so."""

    def work(conn: Connection) -> None:
        gone = {violation.flow_id for violation in _lacking(task, conn)}
        flow_counts.recount(conn, task.db, set(task.flow_ids) - gone)

    task.db.transact(work)


def _lacking(task: Task, conn: Connection) -> list[Violation]:
    return task.looker.look_in(conn, INVARIANTS["I3"], Scope(flows=tuple(task.flow_ids)))


def _release(task: Task) -> None:
    supervise.reap(task.db, grace_s=GRACE_S, policy=task.policy, only=task.keys)


def _explain(task: Task) -> None:
    def work(conn: Connection, broken: list[Violation]) -> None:
        empty = among([violation.key for violation in broken]), task_stat.c.reason == ""
        conn.execute(update(task_stat).where(*empty).values(reason=null()))

    task.under_lock(work)
    _until_done(lambda: supervise.note_paused(task.db, task.policy))


def _obey(task: Task) -> None:
    adopter = Adopter(task.db, task.policy)
    _until_done(lambda: supervise.pass_on(task.db, task.policy) + adopter.adopt())


def _until_done(sweep: Callable[[], int]) -> None:
    for _ in range(MAX_PASSES):
        if not sweep():
            return


def _close_flows(task: Task) -> None:
    _until_done(lambda: closing.close_ended(task.db, task.policy))


def _take_logs(task: Task) -> None:
    _until_done(lambda: task_logs.sweep(task.db))


def _mend_pairs(task: Task) -> None:
    def work(conn: Connection, broken: list[Violation]) -> None:
        of: dict[int, list[Key]] = {}
        for violation in broken:
            of.setdefault(violation.facts["exec_status"], []).append(violation.key)
        if running := of.get(Status.RUNNING):
            still = among(running), task_stat.c.exec_status == int(Status.RUNNING)
            conn.execute(update(task_stat).where(*still).values(wait_count=READY))
        if suspended := of.get(Status.SUSPEND):  # settled once, and told: what waits behind it waits for it again
            raise_behind(conn, task.db, suspended, task.policy)
            conn.execute(update(task_stat).where(among(suspended)).values(wait_count=null()))
        if settled := [key for status in SETTLED for key in of.get(status, ())]:
            _mend_settled(conn, task, settled)

    task.under_lock(work)
    if any(violation.facts["exec_status"] == Status.WAIT for violation in task.violations):
        _obey(task)


def _mend_settled(conn: Connection, task: Task, keys: Sequence[Key]) -> None:
    """Whether those behind were told is not known, so they are counted from the rows rather than told once more."""
    conn.execute(update(task_stat).where(among(sorted(keys))).values(wait_count=PASSED_ON))
    behind = sorted({edge.child for edge in edges.behind(conn, keys)})
    lock_tasks(conn, task.db, behind)
    recount(conn, task.db, behind, task.policy)


def _mend_waits(task: Task) -> None:
    def work(conn: Connection, broken: list[Violation]) -> None:
        if task.invariant.name == "W2":
            _mend_ends(conn, [violation.facts["wait_id"] for violation in broken])
            return
        query = select(*KEY_COLUMNS, task_stat.c.exec_status).where(among(sorted({one.key for one in broken})))
        statuses: dict[Key, int] = {key_of(row): row.exec_status for row in conn.execute(query)}
        waits.cancel(conn, [key for key, status in statuses.items() if status in SETTLED])
        recount(conn, task.db, [key for key, status in statuses.items() if status in _OPEN], task.policy)

    task.under_lock(work)


def _mend_ends(conn: Connection, wait_ids: Sequence[str]) -> None:
    closed_ts = case((IS_OPEN_WAIT, null()), else_=now())
    for part in chunks(sorted(wait_ids)):
        conn.execute(update(wait).where(wait.c.wait_id.in_(part)).values(closed_ts=closed_ts))


def _give_anew(task: Task) -> None:
    """The wait is open, so nobody has had the message: it is unread again, and given by whoever looks next."""

    def work(conn: Connection, broken: list[Violation]) -> None:
        still_open = exists(select(1).where(wait.c.wait_id == message.c.wait_id, IS_OPEN_WAIT))
        for part in chunks(sorted({violation.facts["message_id"] for violation in broken})):
            given = message.c.message_id.in_(part), still_open
            conn.execute(update(message).where(*given).values(wait_id=null()))

    task.under_lock(work)


def _runs(violation: Violation) -> bool:
    return bool(violation.facts.get("exec_status") == Status.RUNNING)


def _is_single(violation: Violation) -> bool:
    """Not one of several time limits of a task that is open itself: which of them counts is for a person to say."""
    return not _runs(violation) and ("limits" not in violation.facts or violation.facts["exec_status"] in SETTLED)


MENDERS: Final[Mapping[str, Mender]] = {
    "obey": Mender("adopted, or passed on", _obey),
    "explain": Mender("given its reason and time", _explain),
    "mend_pairs": Mender("wait_count put right", _mend_pairs),
    "release": Mender("taken back from an owner that is gone", _release),
    "mend_waits": Mender("its waits closed, or counted", _mend_waits, _is_single),
    "give_anew": Mender("the message taken back, to be given once more", _give_anew),
    "recount_tasks": Mender("what it waits for counted anew", _recount_tasks, lambda violation: not _runs(violation)),
    "recount_flows": Mender("the flow counted anew", _recount_flows),
    "close_flows": Mender("the flow closed", _close_flows),
    "take_logs": Mender("what it had logged taken away", _take_logs),
}
"""In the order in which they are applied: what a person wrote first, counters of flows after those of their tasks."""
