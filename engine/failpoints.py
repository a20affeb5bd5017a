"""Named places at which a test may kill, stop or delay this process: the moments between two facts.

Nothing but the environment arms them, once, when the process starts:

    PENSTOCK_FAILPOINTS        what happens where: `settle.before_commit=kill@0.02;claim.*=stop:3@#1`
    PENSTOCK_FAILPOINTS_LOG    a file that gets a line for the first hit of each point and for each hit that acts
    PENSTOCK_FAILPOINTS_SEED   and PENSTOCK_FAILPOINTS_LABEL: what decides about probabilities (default: the process id)

An armed process says so on its standard error. There is no option, setting or row that could arm one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from engine.errors import OutcomeUnknown
from engine.failpoint_rules import Rule, read_rules

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "register.before_transaction": "a group of registrations is known to this process alone",
        "register.after_flow_rows": "flow rows are written, their tasks are not; nothing is committed",
        "register.after_task_rows": "task rows and edges are written; nothing is committed",
        "register.before_commit": "all that the registrations write is written; nothing is committed",
        "register.after_commit": "the flows exist; no caller knows",
        "register.before_answer": "the flows exist and their callers are about to be told",
        "register.read_back": "a COMMIT was answered by nobody; which flows exist is about to be read",
        "claim.empty": "a claim found nothing ready; its transaction is open",
        "claim.after_select": "ready rows are locked and not changed",
        "claim.before_commit": "rows carry the new claim; nothing is committed",
        "claim.after_commit": "rows are RUNNING under this watcher; its workers do not know",
        "claim.read_back": "a COMMIT was answered by nobody; what it claimed is about to be read",
        "dispatch.before_begin": "a worker has taken a task, and its program has not begun",
        "dispatch.after_program": "a program has returned; its outcome is known to its worker alone",
        "dispatch.hand_back": "a task that no worker has begun is about to be given back",
        "settle.before": "outcomes are collected; their transaction is open and has read nothing",
        "settle.after_moves": "settled rows have their new status; successors know nothing; nothing is committed",
        "settle.after_successors": "successors are told; the counters of flows are old; nothing is committed",
        "settle.after_counters": "counters of flows are new; attempts are not recorded; nothing is committed",
        "settle.after_attempts": "attempts are recorded, events are not; nothing is committed",
        "settle.before_commit": "all that a batch writes is written; nothing is committed",
        "settle.after_commit": "a batch is settled; this watcher still holds it",
        "heartbeat.before_beat": "the transaction of a beat is open; the lease is the old one",
        "heartbeat.after_beat": "the lease is extended; nothing is committed",
        "reap.after_select": "rows of silent watchers are locked and not changed",
        "reap.before_commit": "rows of silent watchers are taken back; nothing is committed",
        "reap.after_commit": "rows of silent watchers are taken back",
        "due.after_select": "rows whose due time has come are locked and not changed",
        "due.before_commit": "due times are used up; nothing is committed",
        "waits.after_select": "tasks whose waits are over are locked; nothing is changed",
        "waits.before_commit": "waits are closed and counters are lowered; nothing is committed",
        "command.after_work": "the effect of a command is written, its answer is not; nothing is committed",
        "command.before_commit": "effect and answer of a command are written; nothing is committed",
        "command.after_commit": "a command is done and answered in its row; whoever asked has heard nothing",
        "drain.asked": "a watcher was told to stop, and has not begun to",
        "drain.before_leave": "a watcher has handed back everything, and its lease runs",
        "migrate.between_steps": "one statement of a migration was executed, and another follows",
        "migrate.before_revision": "all statements of a migration were executed; its revision is not recorded",
    }
)
"""Every point, and what is true at that moment."""


class FailpointError(RuntimeError):
    """What the action `raise` raises: an error that no code expects."""


def hit(name: str) -> None:
    """This moment has come. Costs one look at a global unless the process is armed."""
    if _armed is not None:
        _armed.hit(name)


class Armed:
    """Points with something to do. May be hit from any thread."""

    def __init__(self, spec: str, *, log: str | None = None, seed: str = "0", label: str = "") -> None:
        """Errors: ValueError for a spec that cannot be read, or that names a point which does not exist."""
        rules = read_rules(spec)
        for rule in rules:
            if not any(fnmatchcase(name, rule.pattern) for name in POINTS):
                raise ValueError(f"no failpoint is called {rule.pattern!r}: there are {', '.join(POINTS)}")
        acting = [rule for rule in rules if rule.action != "note"]
        self._rules = {name: [rule for rule in acting if fnmatchcase(name, rule.pattern)] for name in POINTS}
        self._log = log
        self._random = random.Random(f"{seed} {label}")
        self._hits: Counter[str] = Counter()
        self._acted: Counter[Rule] = Counter()
        self._lock = threading.Lock()

    def hit(self, name: str) -> None:
        with self._lock:
            self._hits[name] += 1
            count = self._hits[name]
            rule = next((rule for rule in self._rules[name] if self._acts(rule, count)), None)
            if rule is not None:
                self._acted[rule] += 1
        if count == 1:
            self._note(name, "hit")
        if rule is not None:
            self._note(name, rule.action)
            _ACTIONS[rule.action](name, rule.seconds)

    def _acts(self, rule: Rule, count: int) -> bool:
        if rule.most is not None and self._acted[rule] >= rule.most:
            return False
        if rule.nth is not None:
            return count == rule.nth
        return rule.share >= 1 or self._random.random() < rule.share

    def _note(self, name: str, action: str) -> None:
        """One line by one write, so that lines of several processes do not mix."""
        if self._log is None:
            return
        line = f"{name} {os.getpid()} {action} {time.time():.6f} {time.monotonic():.6f}\n"
        opened = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(opened, line.encode())
        finally:
            os.close(opened)


def _kill(name: str, seconds: float) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(name: str, seconds: float) -> None:
    os._exit(70)


def _raise(name: str, seconds: float) -> None:
    raise FailpointError(f"failpoint {name}")


def _lose(name: str, seconds: float) -> None:
    raise OutcomeUnknown(f"the answer to COMMIT was lost: failpoint {name}")


def _sleep(name: str, seconds: float) -> None:
    time.sleep(seconds)


def _stop(name: str, seconds: float) -> None:
    pid = os.getpid()
    if seconds:  # a grandchild, so that nobody is left to be waited for
        script = f"(sleep {seconds}; kill -CONT {pid}) &"
        subprocess.run(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    os.kill(pid, signal.SIGSTOP)


_ACTIONS: Final[Mapping[str, Callable[[str, float], None]]] = {
    "kill": _kill,
    "exit": _exit,
    "raise": _raise,
    "lose": _lose,
    "sleep": _sleep,
    "stop": _stop,
}
_armed: Armed | None = None


def arm() -> None:
    """Arm this process as its environment says; called once, at import. Errors: SystemExit for a bad spec."""
    global _armed
    spec = os.environ.get("PENSTOCK_FAILPOINTS", "").strip()
    if not spec:
        return
    log = os.environ.get("PENSTOCK_FAILPOINTS_LOG") or None
    seed = os.environ.get("PENSTOCK_FAILPOINTS_SEED", "0")
    label = os.environ.get("PENSTOCK_FAILPOINTS_LABEL") or str(os.getpid())
    try:
        _armed = Armed(spec, log=log, seed=seed, label=label)
    except ValueError as error:
        raise SystemExit(f"PENSTOCK_FAILPOINTS: {error}") from None
    print(f"warning: failpoints are armed, this process may end at any moment: {spec}", file=sys.stderr, flush=True)


arm()
