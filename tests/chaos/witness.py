"""The programs of the chaos runs: each execution writes into the effect log that it began, and how it ended.

A plugin as any other. The harness copies this file into a folder of its own, where the effect log is its neighbour:
nothing has to be passed by the environment, which executors may scrub.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from programs.contract import Call, Program
from programs.hooks import hookimpl
from programs.outcomes import Again, Await, Fail, Finish, Outcome

EFFECTS = Path(__file__).with_name("effects.jsonl")
MODULUS = 1_000_003


def share(number: int, seq: int) -> int:
    """What one task adds to the sums that flow through its flow."""
    return (number * 7919 + seq * 104_729) % MODULUS


def span_s(number: int, seq: int) -> float:
    """How long a task works: mostly 0 to 50 ms, sometimes up to three seconds, so that kills find it at work."""
    rng = random.Random(f"{number}/{seq}")
    draw = rng.random()
    if draw < 0.6:
        return rng.uniform(0.0, 0.05)
    return rng.uniform(0.1, 0.8) if draw < 0.88 else rng.uniform(0.8, 3.0)


def tell(call: Call, what: str, how: str | None = None, total: int | None = None) -> None:
    """Append one line, by one write, which the kernel never mixes with another's."""
    line = {
        "what": what,
        "flow": call.flow_id,
        "seq": call.exec_seq,
        "attempt": call.attempt,
        "claim": call.claim_id,
        "pid": os.getpid(),
        "parent_pid": os.getppid(),
        "wall": time.time(),
        "mono": time.monotonic(),
        "how": how,
        "total": total,
    }
    log = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(log, json.dumps(line).encode() + b"\n")
    finally:
        os.close(log)


def early(call: Call, kind: str) -> tuple[Outcome, str] | None:
    """What the kinds that do not finish at once answer first."""
    if kind == "retry" and call.attempt == 1:
        return Fail("the first try of this task always fails"), "fail"
    if kind == "again" and random.Random(call.claim_id).random() < 0.5:
        return Again(after=0.1), "again"
    if kind == "timer" and not call.arrivals:
        return Await("timer", until=0.3), "await"
    return None


def total_of(call: Call, number: int, upstream: Sequence[Any]) -> int:
    return (share(number, call.exec_seq) + sum(int(result["sum"]) for result in upstream)) % MODULUS


class ChaosWork(Program):
    """Work for a while, and add up what the tasks before returned. Writes the effect log."""

    name = "ChaosWork"

    def run(self, call: Call, *, NUMBER: int, KIND: str = "plain") -> Outcome:
        tell(call, "begin")
        try:
            if (answer := early(call, KIND)) is not None:
                tell(call, "end", answer[1])
                return answer[0]
            call.sleep(span_s(NUMBER, call.exec_seq))
            total = total_of(call, NUMBER, call.upstream)
        except BaseException as error:
            tell(call, "end", f"raised {type(error).__name__}")
            raise
        tell(call, "end", "finish", total)
        return Finish({"sum": total})


class ChaosAsync(Program):
    """The same as ChaosWork, in an event loop. Writes the effect log."""

    name = "ChaosAsync"

    async def run(self, call: Call, *, NUMBER: int, KIND: str = "plain") -> Outcome:
        tell(call, "begin")
        try:
            if (answer := await asyncio.to_thread(early, call, KIND)) is not None:
                tell(call, "end", answer[1])
                return answer[0]
            await asyncio.sleep(span_s(NUMBER, call.exec_seq))
            total = await asyncio.to_thread(lambda: total_of(call, NUMBER, list(call.upstream)))
        except BaseException as error:
            tell(call, "end", f"raised {type(error).__name__}")
            raise
        tell(call, "end", "finish", total)
        return Finish({"sum": total})


@hookimpl
def penstock_programs() -> list[Program]:
    return [ChaosWork(), ChaosAsync()]
