"""Commands on flows and their tasks: the operator verbs of engine/control, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictStr
from sqlalchemy import Connection

from engine.commands.changes import Done, made
from engine.commands.command import Arguments, Asked, Command, Noun, Work
from engine.commands.task_changes import flow_status, of_flow
from engine.commands.types import Priority, Seq
from engine.control.acting import Meant, Verb, perform
from engine.control.flows import Cancel, RunAgain
from engine.control.parameters import SetFlowParameters, SetParameters
from engine.control.rerun import MAX_PATTERN, Rerun, texts_matching
from engine.control.suspension import Pause, Recover, Resume, Retry
from engine.control.tasks import Finish, Ignore, SetPriority
from engine.database import Database
from engine.errors import BadRequest

Seqs = Annotated[list[Seq], Field(min_length=1, max_length=1_000)]


class OnTasks(Arguments):
    seqs: Seqs | None = Field(None, description="run numbers of the tasks that are meant; all that the verb is for")


class Resumed(OnTasks):
    only_paused: StrictBool = Field(True, description="leave alone what is suspended for another reason than a pause")


class Ignored(Arguments):
    seqs: Seqs = Field(description="run numbers of the tasks that are set aside for good")


class Finished(Arguments):
    seqs: Seqs = Field(description="run numbers of the tasks that count as finished")
    result: Any = Field(None, description="their result, JSON")


class RunTheseAgain(OnTasks):
    upstream: StrictBool = Field(False, description="also everything ahead of them")
    downstream: StrictBool = Field(False, description="also everything behind them")
    force: StrictBool = Field(False, description="supersede what runs")
    name: StrictStr | None = Field(
        None, max_length=MAX_PATTERN, description="a regular expression, found in the step's name or its program"
    )


class Prioritised(OnTasks):
    priority: Priority = Field(description="smaller goes first")


class Parameters(Arguments):
    parameters: dict[str, Any] = Field(description="name -> value")
    replace: StrictBool = Field(False, description="take away the parameters that are not named")


class TaskParameters(Parameters):
    seqs: Seqs = Field(description="run numbers of the tasks that are meant")


Make = Callable[[Asked[Any]], Verb]


def _work(make: Make) -> Work:
    def work(conn: Connection, db: Database, asked: Asked[Any]) -> Done:
        seqs = getattr(asked.arguments, "seqs", None)
        meant = Meant((asked.subject,), None if seqs is None else frozenset(seqs), texts=asked.ahead)
        verb, before = make(asked), flow_status(conn, asked.subject)
        chosen = perform(conn, db, verb, meant, asked.actor.name, asked.reason)
        if chosen.refused:
            raise chosen.refused[asked.subject]
        change = of_flow(conn, verb, chosen, asked.subject, before)
        return Done({"seqs": chosen.seqs_of(asked.subject)}, change)

    return work


def _matching(db: Database, asked: Asked[RunTheseAgain]) -> frozenset[str] | None:
    """The names that the pattern is found in."""
    told = asked.arguments
    if told.name is None:
        return None
    if told.seqs is not None:
        raise BadRequest("name", "goes without seqs: name the tasks by one of them")
    return texts_matching(db, told.name, [asked.subject])


def _run_again(conn: Connection, db: Database, asked: Asked[Any]) -> Done:
    verb = RunAgain()
    chosen = perform(conn, db, verb, Meant((asked.subject,)), asked.actor.name, asked.reason)
    if chosen.refused:
        raise chosen.refused[asked.subject]
    new = verb.made[asked.subject]
    return Done({"task_flow_id": new}, made(task_flow_id=new, rerun_of=asked.subject))


def _flow(name: str, about: str, make: Make, arguments: type[Arguments]) -> Command:
    return Command(name, Noun.FLOW, about, _work(make), arguments)


COMMANDS = (
    _flow("pause", "Suspend what waits", lambda it: Pause(it.reason), OnTasks),
    _flow("resume", "Take back a pause", lambda it: Resume(only_paused=it.arguments.only_paused), Resumed),
    _flow(
        "recover", "Let the flow go on: what is suspended or was cancelled waits again", lambda _: Recover(), OnTasks
    ),
    _flow("retry", "Try failed tasks anew, with all their tries", lambda _: Retry(), OnTasks),
    _flow(
        "ignore", "Set tasks aside for good; what waits for them goes on", lambda it: Ignore(note=it.reason), Ignored
    ),
    _flow("finish", "Count tasks as finished, with a result", lambda it: Finish(it.arguments.result), Finished),
    Command("cancel", Noun.FLOW, "End a flow now, with its sub-flows", _work(lambda _: Cancel())),
    Command(
        "rerun",
        Noun.FLOW,
        "Run tasks again, or the whole flow, in the same rows",
        _work(
            lambda it: Rerun(
                upstream=it.arguments.upstream, downstream=it.arguments.downstream, force=it.arguments.force
            )
        ),
        RunTheseAgain,
        ahead=_matching,
    ),
    Command("run_again", Noun.FLOW, "Make a new flow of the same workflow and parameters", _run_again),
    _flow(
        "set_priority",
        "Change the priority of what has not been claimed",
        lambda it: SetPriority(it.arguments.priority),
        Prioritised,
    ),
    _flow(
        "set_parameters",
        "Change the parameters of tasks that have not begun",
        lambda it: SetParameters(it.arguments.parameters, replace=it.arguments.replace),
        TaskParameters,
    ),
    _flow(
        "set_flow_parameters",
        "Change what fills the parameters that tasks leave open",
        lambda it: SetFlowParameters(it.arguments.parameters, replace=it.arguments.replace),
        Parameters,
    ),
)
