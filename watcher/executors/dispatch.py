"""From a task to the place where its program runs, and back to a settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.errors import PenstockError
from engine.executors import ASYNC, PROCESS
from engine.preparing.refusals import Refused
from engine.settling.settlement import Settlement
from engine.states import Reason
from programs.catalogue import Catalogue
from programs.contract import Stopped
from programs.invoke import invoke, invoke_async
from programs.outcomes import Outcome
from watcher import attempt, timeouts
from watcher.attempt import Attempt, TryFailed
from watcher.capture import Transcript
from watcher.executors import crossing
from watcher.executors.children import Children, NoChildError
from watcher.executors.choosing import executor_of
from watcher.executors.event_loop import EventLoop
from watcher.executors.exchange import Ending
from watcher.executors.limits import Limits
from watcher.executors.tail import Tail
from watcher.inputs import Reader
from watcher.secrets import NO_SECRETS, Secrets
from watcher.slots import Slot

Later = Callable[[Slot, Settlement], object]


class Dispatch:
    """Runs tasks where they belong. Called by the workers of a pool, each with its own task."""

    def __init__(
        self,
        catalogue: Catalogue,
        read: Reader,
        limits: Limits,
        may_be_exclusive: Callable[[], bool] = lambda: True,
        may_begin: Callable[[float], bool] = lambda handed_at: True,
        secrets: Secrets = NO_SECRETS,
        http_networks: tuple[str, ...] = (),
    ) -> None:
        self.http_networks = http_networks
        """Internal networks to which programs may send requests."""
        self._catalogue = catalogue
        self._secrets = secrets
        self._read = read
        self._may_be_exclusive = may_be_exclusive
        self._may_begin = may_begin
        self._loop = EventLoop()
        self.children = Children(catalogue.source, limits)

    @property
    def waiting(self) -> int:
        """How many tasks are on the event loop: they hold no worker."""
        return self._loop.running

    def execute(self, slot: Slot, later: Later) -> Settlement | None:
        """Run the task of this slot: how to settle it, or None if `later` will be told. Never raises."""
        task = slot.task
        begun: list[Attempt] = []
        log = slot.log = Transcript()

        def work() -> Outcome:
            entry = attempt.entry_of(task, self._catalogue)
            slot.executor = executor_of(task, entry)
            ready = attempt.prepared(task, entry, self._read, self._secrets, self.http_networks)
            if slot.executor == ASYNC:
                begun.append(ready)
                raise Stopped  # it goes on elsewhere
            if slot.executor == PROCESS:
                return ready.kept(self._in_child(ready, slot, log), self._read)
            return ready.kept(invoke(entry.program, ready.call(self._read, slot)), self._read)

        settlement = attempt.settled(task, work, log)
        if not begun:
            return settlement
        self._loop.run(lambda: self._on_loop(begun[0], slot, log, later), slot.stop, copy_context())
        return None

    def kill(self) -> None:
        """End what runs in children, now."""
        self.children.kill()

    def close(self) -> None:
        self._loop.close()
        self.children.close()

    async def _on_loop(self, ready: Attempt, slot: Slot, log: Transcript, later: Later) -> None:
        async def work() -> Outcome:
            outcome = await invoke_async(ready.entry.program, ready.call(self._read, slot))
            if ready.task.output_mapping is None:
                return outcome
            return await asyncio.to_thread(ready.kept, outcome, self._read)  # it may read the database

        later(slot, await attempt.settled_async(slot.task, work, log, slot.stop))

    def _in_child(self, ready: Attempt, slot: Slot, log: Transcript) -> Outcome:
        """Errors: those of the program, as Stopped, Refused and TryFailed."""
        task = ready.task
        if task.is_exclusive and not self._may_be_exclusive():
            raise Stopped
        try:
            child = self.children.borrow(slot.stop)
        except NoChildError as error:
            if error.printed is not None:
                log.follow(error.printed)
            raise TryFailed(str(error)) from None
        ending: Ending | None = None
        printed = Tail()
        log.follow(printed)
        try:
            if not self._may_begin(slot.handed_at):  # it may have waited long for a process
                raise Stopped
            request = {"program": task.program, "facts": ready.facts, "secrets": ready.secrets}
            limit_s = timeouts.limit_of(task)
            ending = child.run(request, slot.stop, limit_s, lambda what: self._found(ready, what), printed)
        finally:
            if ending is None:
                child.end()
            self.children.give_back(child, is_reusable=ending is not None and ending.is_reusable)
        return _outcome_of(ending, task)

    def _found(self, ready: Attempt, what: str) -> dict[str, Any]:
        """What a program asks of its flow, as a message."""
        key = ready.task.key
        try:
            match what:
                case "results":
                    return {"found": dict(self._read.results(key.flow_id))}
                case "upstream":
                    return {"found": list(self._read.upstream(key))}
                case "arrivals":
                    return {"found": crossing.arrivals_out(self._read.arrivals(key))}
        except PenstockError as error:
            return {"unreadable": str(error)}
        return {"unreadable": f"there is no {what[:40]!r} to be asked for"}


def _outcome_of(ending: Ending, task: ClaimedTask) -> Outcome:
    match ending.how:
        case "timed out":
            raise TryFailed(timeouts.words_of(task), reason=Reason.TIMED_OUT)
        case "stopped":
            raise Stopped
        case "bad":
            raise Refused(Reason.BAD_RESULT, f"{ending.words}: larger results belong into a file or a table")
        case "died":
            raise TryFailed(ending.words)
    answer = ending.answer
    try:
        if "failed" in answer:
            raise _failure(answer)
        return crossing.incoming(answer, ending.tasks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TryFailed(f"the process sent what is no answer: {jsontext.clean_text(repr(error), 200)}") from None


def _failure(answer: dict[str, Any]) -> Exception:
    words = str(answer["words"])
    match answer["failed"]:
        case "stopped":
            return Stopped(words)
        case "parameters":
            return Refused(Reason.BAD_PARAMETERS, words)
        case "result":
            return Refused(Reason.BAD_RESULT, words)
        case "unknown":
            return Refused(Reason.UNKNOWN_PROGRAM, words)
    trace = answer.get("traceback")
    return TryFailed(words, trace if isinstance(trace, str) else None)
