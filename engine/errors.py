"""Errors of the engine: one root, so that a caller can catch Penstock's own failures and nothing else.

PenstockError
├── BadDatabaseURL        the URL cannot be used: unknown scheme, missing driver, unreadable
├── DatabaseUnavailable   the server does not answer, or refuses for now: wait and ask again
├── OutcomeUnknown        a COMMIT was sent and its answer was lost: read back by id, then decide
├── PoisonData            the database refuses a value of this batch: leave that row out, repair it
├── FatalDatabaseError    asking again cannot help: a table is missing, the password is wrong
│   ├── Unclassified      a code that no table of ours knows
│   ├── SchemaMissing     no Penstock tables here
│   ├── SchemaTooOld      the tables are of an earlier release
│   └── SchemaTooNew      the tables are of a later release
├── BrokenPromise         an invariant of the engine did not hold; the transaction was rolled back
├── UnknownWorkflow       no definition rows for this task_id
├── BadDefinition         definition rows that cannot run: a cycle, a dangling edge
│   ├── UnfitProgram      a step names no installed program, or its parameters do not fit
│   └── BadDocument       a document or a script that says no workflow
├── UnknownVersion        no such version of this workflow
├── BadExpression         a condition or a mapping that cannot be read, or that fails on its data
├── BadRequest            an argument is out of range or of the wrong shape
├── UnknownFlow           no such flow
├── UnknownWatcher        no such watcher
│   └── UnknownWorker     no such remote worker, or it has left
├── UnknownToken          no such token
├── UnknownPrincipal      no such person
├── UnknownTask           no such task in this flow
├── Conflict              a verb does not fit the state that it finds
│   └── Outdated          a workflow is no longer as the caller saw it
├── UnknownWait           nobody awaits this answer, or this call-back
├── AlreadyAnswered       somebody was faster, or the time was over
├── NotAllowed            others may answer, this actor may not
├── Forbidden             the actor's role, or the workflows that it reaches, do not cover this
├── TooManyFlows          the workflow has as many flows under way as it may, and refuses more
└── KeyReused             an idempotency key came back with another request
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class PenstockError(Exception):
    """Root of every error that Penstock raises on purpose."""


class BadDatabaseURL(PenstockError):
    """The database URL cannot be used; the message says what to write or install instead."""


class DatabaseUnavailable(PenstockError):
    """The database cannot be reached, or refuses for the moment; nothing of this transaction was applied.

    `is_down`: the server itself says that nobody can write at present. Without it, others perhaps can."""

    def __init__(self, words: str, *, is_down: bool = False) -> None:
        self.is_down = is_down
        super().__init__(words)


class OutcomeUnknown(PenstockError):
    """A COMMIT was sent and no answer came back, so the transaction may or may not have been applied."""


class PoisonData(PenstockError):
    """The database refuses a value (too long, out of range, not text): asking again gives the same answer."""


class FatalDatabaseError(PenstockError):
    """The database refuses for good: wrong credentials, missing tables, a corrupt file."""


class Unclassified(FatalDatabaseError):
    """The database answered with a code that no table of ours knows: it may pass, so it ends no process."""


def concerns_all(error: BaseException) -> bool:
    """Is it about the database, whatever the transaction held? Then no part of a batch fares better than the whole."""
    is_refusal = isinstance(error, FatalDatabaseError) and not isinstance(error, Unclassified)
    return is_refusal or isinstance(error, DatabaseUnavailable)


class SchemaMissing(FatalDatabaseError):
    """The database holds no Penstock tables."""


class SchemaTooOld(FatalDatabaseError):
    """The tables are of an earlier release than this code."""


class SchemaTooNew(FatalDatabaseError):
    """The tables are of a later release than this code."""


class BrokenPromise(PenstockError):
    """An invariant did not hold inside a transaction. It is a bug, or a change made by hand; nothing was applied."""


class UnknownWorkflow(PenstockError):
    """No row of ms_task_definition has this task_id."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"workflow {task_id!r} has no rows in ms_task_definition: insert its steps there first")


class BadDefinition(PenstockError):
    """The definition rows of a workflow cannot become a flow. `problems`: one sentence each."""

    def __init__(self, task_id: str, why: str, problems: Sequence[str] = ()) -> None:
        self.task_id = task_id
        self.why = why
        self.problems = list(problems) or [why]
        super().__init__(f"workflow {task_id!r}: {why}")


class UnfitProgram(BadDefinition):
    """A step names a program that is not installed here, or has parameters that its program does not take."""


class Problem(NamedTuple):
    """One thing that is wrong with a document: `where` is a path in it, as in steps[2].retry, or empty; `line` of the
    text, from 1, where that is known."""

    where: str
    line: int | None
    words: str

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        return ": ".join([*place, *([self.where] if self.where else []), self.words])


class BadDocument(BadDefinition):
    """A document, or a script, that cannot be a workflow: everything that is wrong with it, as far as one can tell."""

    def __init__(self, task_id: str | None, found: Sequence[Problem]) -> None:
        self.found = list(found)
        super().__init__(task_id or "?", "; ".join(map(str, found)), [str(problem) for problem in found])
        if task_id is None:  # it does not even say whose it is
            self.args = (self.why,)


class UnknownVersion(PenstockError):
    """No row of ms_workflow_version of this workflow has this version_id."""

    def __init__(self, task_id: str, version_id: str) -> None:
        self.task_id = task_id
        self.version_id = version_id
        super().__init__(f"workflow {task_id!r} has no version {version_id!r}")


class BadExpression(PenstockError):
    """An expression cannot be read, is beyond its bounds, or fails on the data that it is given."""

    def __init__(self, expression: str, why: str) -> None:
        self.expression = expression
        self.why = why
        shown = expression if len(expression) <= 200 else f"{expression[:200]} ..."
        super().__init__(f"expression {shown!r} {why}")


class BadRequest(PenstockError):
    """An argument has the wrong shape or range; `field` names it."""

    def __init__(self, field: str, why: str) -> None:
        self.field = field
        self.why = why
        super().__init__(f"{field}: {why}")


class UnknownFlow(PenstockError):
    """No row of kr_flow_stat has this task_flow_id."""

    def __init__(self, flow_id: str) -> None:
        self.flow_id = flow_id
        super().__init__(f"flow {flow_id!r} does not exist")


class UnknownTask(PenstockError):
    """No row of kr_task_stat has this key."""

    def __init__(self, flow_id: str, seq: int) -> None:
        self.flow_id = flow_id
        self.seq = seq
        super().__init__(f"flow {flow_id!r} has no task {seq}")


class UnknownWatcher(PenstockError):
    """No row of kr_watcher has this watcher_id."""

    def __init__(self, watcher_id: str) -> None:
        self.watcher_id = watcher_id
        super().__init__(f"watcher {watcher_id!r} does not exist")


class UnknownWorker(UnknownWatcher):
    """No remote worker has this id, or it has left."""

    def __init__(self, worker_id: str) -> None:
        self.watcher_id = worker_id
        PenstockError.__init__(self, f"worker {worker_id!r} is not enlisted, or has left: enlist anew")


class UnknownToken(PenstockError):
    """No row of ms_token has this token_id."""

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id
        super().__init__(f"token {token_id!r} does not exist")


class UnknownPrincipal(PenstockError):
    """No row of ms_principal has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"principal {name!r} does not exist")


class Conflict(PenstockError):
    """A verb does not fit the state of what it is for; nothing was changed. The message says what would."""

    def __init__(self, subject: str, state: str, remedy: str) -> None:
        self.subject = subject
        self.state = state
        self.remedy = remedy
        super().__init__(f"{subject} {state}: {remedy}")


class Outdated(Conflict):
    """A workflow is no longer as the caller saw it. `current` is its stamp now; None if it is not there, or cannot
    run."""

    def __init__(self, task_id: str, state: str, current: str | None, remedy: str) -> None:
        self.task_id = task_id
        self.current = current
        super().__init__(f"workflow {task_id!r}", state, remedy)


class TooManyFlows(PenstockError):
    """The workflow has as many flows under way as ms_workflow allows, and its on_limit is refuse."""

    def __init__(self, task_id: str, most: int) -> None:
        self.task_id = task_id
        self.most = most
        super().__init__(
            f"workflow {task_id!r} has {most} flows under way, as many as its max_active_flows allows: "
            "ask again when one has ended"
        )


class KeyReused(PenstockError):
    """The idempotency key was used before, for another request."""

    def __init__(self, key: str, flow_id: str) -> None:
        self.key = key
        self.flow_id = flow_id
        super().__init__(f"idempotency key {key!r} already belongs to flow {flow_id!r}, made by a different request")


class UnknownWait(PenstockError):
    """No row of kr_wait is meant. A token of a call-back is never repeated in the message."""

    def __init__(self, wait_id: str | None = None) -> None:
        self.wait_id = wait_id
        what = "this token" if wait_id is None else f"wait {wait_id!r}"
        super().__init__(f"{what} belongs to nothing that a task awaits")


class AlreadyAnswered(PenstockError):
    """The wait is over: it was answered, expired, or was cancelled. `state` says which, `by` and `at` who and when."""

    def __init__(self, wait_id: str, state: str, by: str | None, at: datetime | None) -> None:
        self.wait_id = wait_id
        self.state = state
        self.by = by
        self.at = at
        how = {"arrived": "was answered", "expired": "has expired", "cancelled": "was cancelled"}.get(state, "is over")
        who = f" by {by!r}" if by else ""
        when = f" at {at.isoformat()}" if at else ""
        super().__init__(f"wait {wait_id!r} {how}{who}{when}: this answer changes nothing")


class Forbidden(PenstockError):
    """Who asks may not do this: it takes another role, or concerns what the actor does not reach."""

    def __init__(self, actor: str, what: str, why: str) -> None:
        self.actor = actor
        super().__init__(f"{actor!r} may not {what}: {why}")


class NotAllowed(PenstockError):
    """The actor is none of those who may answer."""

    def __init__(self, wait_id: str, actor: str, candidates: Sequence[str]) -> None:
        self.wait_id = wait_id
        self.actor = actor
        self.candidates = list(candidates)
        super().__init__(f"{actor!r} may not answer wait {wait_id!r}: it is for {', '.join(candidates)}")
