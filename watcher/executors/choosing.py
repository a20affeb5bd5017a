"""Which executor a task gets: its row's, else its program's; and what is refused rather than weakened."""

from __future__ import annotations

from typing import Final

from engine import executors
from engine.claimed import ClaimedTask
from engine.executors import ASYNC, PROCESS, THREAD
from engine.preparing.refusals import Refused
from engine.states import Reason
from programs.catalogue import Entry

LOST_BEFORE: Final = 2
"""A task that was lost so often runs next in a process of its own: it may be what ended its watchers."""


def executor_of(task: ClaimedTask, entry: Entry) -> str:
    """The executor. Errors: Refused, if the row names none that there is or the program cannot run there."""
    for problem in executors.problems(task.executor, task.is_exclusive):
        raise Refused(Reason.BAD_ROW, f"{problem}; mend the row and set exec_status to 0")
    program = entry.program
    chosen = task.executor or program.chosen_executor
    if chosen == ASYNC and not program.is_async:
        words = f"the executor async needs a program that is `async def`, and {program.name} is none"
        raise Refused(Reason.BAD_ROW, f"{words}: set executor to thread, process or NULL")
    if task.is_exclusive and chosen != PROCESS:
        words = f"{executors.EXCLUSIVE_NEEDS}, and program {program.name} runs in {chosen}"
        raise Refused(Reason.BAD_ROW, f"{words}: set executor to process")
    can_leave = entry.is_shared and not program.stays_inside
    if chosen == PROCESS and not can_leave:
        why = "needs the watcher's own process" if program.stays_inside else "was handed to the watcher as an object"
        raise Refused(Reason.BAD_ROW, f"program {program.name} {why} and cannot run in another: set executor to thread")
    if chosen in (THREAD, ASYNC) and task.losses >= LOST_BEFORE and can_leave:
        return PROCESS
    return chosen
