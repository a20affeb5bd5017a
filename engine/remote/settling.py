"""What remote workers answer, settled under the fence of their claims."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select

from engine import jsontext, task_logs
from engine.claimed import ClaimedTask, claimed_task, details
from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown, PoisonData, concerns_all
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.keys import Fence, Key, among, chunks, key_of, pair_among
from engine.preparing.parameters import of_flow_of
from engine.preparing.refusals import Refused
from engine.preparing.scoping import DatabaseScope, Scoping
from engine.remote.outcomes import Outcome, settlement_of
from engine.settle import settle
from engine.settling import making
from engine.settling.settlement import Settlement, Verdict
from engine.settling.ways import Ways
from engine.states import Reason, Status
from engine.tables import attempt, task_stat

MAX_UNANSWERED: Final = 5
_WAYS: Final = Ways()


class Answer(StrEnum):
    """What becomes of one answer of a worker."""

    SETTLED = "settled"
    """Also where it was settled before in the same way: the answer to that may have been lost."""
    STALE = "stale"
    """Another claim, or a person, has the task now: nothing was changed."""
    MISFIT = "misfit"
    """The claim is no claim of this task."""


@dataclass(frozen=True)
class Told:
    """What a worker says of one claim. `attempt` is that of the claim; `log` comes behind what was logged before."""

    fence: Fence
    attempt: int
    outcome: Outcome
    log: str | None = None

    @property
    def key(self) -> Key:
        return Key(self.fence.flow_id, self.fence.seq)


def settle_told(db: Database, worker_id: str, told: Sequence[Told], policy: Policy = DEFAULT_POLICY) -> list[Answer]:
    """Settle what a worker answered, all in one transaction if nothing spoils it. Shape: one Answer for each, in order.

    Saying the same again changes nothing and is answered the same. Errors: those of the database.
    """
    with db.read() as conn:
        rows = _rows_of(conn, {item.key for item in told})
        known = _known_tries(conn, [item.fence for item in told])
    read = DatabaseScope(db)
    answers: list[Answer] = []
    settlements: list[Settlement] = []
    places: list[int] = []
    for item in told:
        row = rows.get(item.key)
        task = _task_of(item, row, known)
        if isinstance(task, Answer):
            answers.append(task)
            continue
        if _was_refused(item, row):
            answers.append(Answer.SETTLED)
            continue
        places.append(len(answers))
        answers.append(Answer.STALE)
        settlements.append(_settlement(task, item, read, known.get(item.fence)))
    for place, (_, verdict) in zip(places, settle_each(db, worker_id, settlements, policy), strict=True):
        answers[place] = Answer.STALE if verdict is Verdict.STALE else Answer.SETTLED
    return answers


def _was_refused(item: Told, row: Row[Any] | None) -> bool:
    """Was this said before, and the task suspended over it, because the flow does not allow what it asks for? The try
    was charged then, which nothing but its own answer does."""
    if row is None or row.claim_id != item.fence.claim_id or row.attempt != item.attempt:
        return False
    return row.exec_status == Status.SUSPEND and row.reason in _REFUSALS


_REFUSALS: Final = (Reason.BAD_RESULT, Reason.BAD_CONDITION, Reason.LOOP_LIMIT)


def settle_each(
    db: Database, worker_id: str, batch: Sequence[Settlement], policy: Policy = DEFAULT_POLICY
) -> list[tuple[Settlement, Verdict]]:
    """Settle a batch; one that the database refuses is halved until the bad settlement stands alone, and that task is
    suspended in place of what was asked for. Errors: those that concern the database, not the batch."""
    if not batch:
        return []
    try:
        verdicts = _for_sure(db, worker_id, batch, policy)
        return list(zip(batch, verdicts, strict=True))
    except Exception as error:
        if concerns_all(error):
            raise
        if len(batch) > 1:
            half = len(batch) // 2
            return [done for part in (batch[:half], batch[half:]) for done in settle_each(db, worker_id, part, policy)]
        why = "the database refuses what the program answered" if isinstance(error, PoisonData) else "cannot be settled"
        words = jsontext.clean_text(f"{why}: {error}", 1000)
        bare = Settlement(batch[0].task, "suspend", reason=Reason.BAD_RESULT, error=words)
        return [(bare, _for_sure(db, worker_id, [bare], policy)[0])]


def _for_sure(db: Database, worker_id: str, batch: Sequence[Settlement], policy: Policy) -> list[Verdict]:
    """Settle until the answer arrives: doing it again changes nothing where it was done already."""

    def work(conn: Connection, shortly: bool) -> list[Verdict]:
        live = task_logs.take(conn, [item.task.fence for item in batch])
        whole = [_with_log(item, live.get(item.task.fence)) for item in batch]
        return settle(conn, db, worker_id, whole, policy=policy, shortly=shortly and not live).verdicts

    unanswered: OutcomeUnknown | None = None
    for _ in range(MAX_UNANSWERED):
        try:
            return _WAYS.transact(db, batch, work)
        except OutcomeUnknown as error:
            unanswered = error
    raise DatabaseUnavailable(f"{MAX_UNANSWERED} times in a row, {unanswered}") from unanswered


def _with_log(item: Settlement, live: str | None) -> Settlement:
    return item if live is None else item._replace(log=task_logs.joined(live, item.log))


def _settlement(task: ClaimedTask, item: Told, read: Scoping, tried: _Try | None) -> Settlement:
    try:
        made = settlement_of(task, item.outcome, of_flow_of(task), read)
    except Refused as error:
        made = making.suspended(task, error.reason, error.words)
    log = jsontext.clean_text(item.log, task_logs.MAX_KEPT) if item.log else None
    if tried is not None and tried.log:
        was_said = tried.log.endswith(log or "")
        log = tried.log if was_said else task_logs.joined(tried.log, log)
    return made._replace(log=log)


def _rows_of(conn: Connection, keys: Collection[Key]) -> dict[Key, Row[Any]]:
    held = task_stat.c.exec_status, task_stat.c.claim_id, task_stat.c.reason
    query = details().add_columns(*held)
    return {key_of(row): row for part in chunks(sorted(keys)) for row in conn.execute(query.where(among(part)))}


class _Try(NamedTuple):
    """A try that is on record: the number of its claim, and what it had logged when it was given up."""

    claim_no: int
    log: str | None


def _known_tries(conn: Connection, fences: Collection[Fence]) -> dict[Fence, _Try]:
    """The tries of these claims that are on record."""
    found: dict[Fence, _Try] = {}
    of = attempt.c
    for part in chunks(sorted(set(fences))):
        keys = [Key(flow_id, seq) for flow_id, seq, _ in part]
        query = select(of.task_flow_id, of.task_exec_seq, of.claim_id, of.claim_no, of.log)
        for *fence, number, log in conn.execute(query.where(pair_among(of.task_flow_id, of.task_exec_seq, keys))):
            found[Fence(*fence)] = _Try(number, log)
    return found


def _task_of(item: Told, row: Row[Any] | None, known: Mapping[Fence, _Try]) -> ClaimedTask | Answer:
    """The task as it was claimed. A claim that is not the row's last is looked at only if it is on record: whoever
    makes one up leaves no trace."""
    if row is None:
        return Answer.MISFIT
    task = claimed_task(row, item.fence.claim_id, claimed=True)
    if row.claim_id != item.fence.claim_id:
        tried = known.get(item.fence)
        return Answer.STALE if tried is None else task._replace(claim_no=tried.claim_no, attempt=item.attempt)
    if row.exec_status == Status.RUNNING and item.attempt != task.attempt:
        return Answer.MISFIT
    return task._replace(attempt=item.attempt)
