"""The processes of a run: started as a user starts them, and started again as soon as they end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from forked import Forked
from processes import PENSTOCK, environment

from tests.chaos import families
from tests.chaos.options import ROOT
from tests.chaos.records import Fault, Journal, Life, now

KEEP_EVERY_S = 0.05
PLUGIN_FOLDER = "plugin"
"""The folder of the witness, within that of the run."""


class Member:
    """A register or a watcher, in a session of its own. Each start is a `Life`; `lives` keeps all of them.

    Those of this tree are forked from a process that has imported it, which takes a third of the time that a new
    interpreter takes; those of another `tree` are interpreters of their own.
    """

    def __init__(
        self, label: str, role: str, arguments: list[str], folder: Path, env: dict[str, str], tree: Path | None = None
    ) -> None:
        self.label = label
        self.role = role
        self.folder = folder
        self.log = folder / f"{label}.log"
        self.lives: list[Life] = []
        self._arguments = arguments
        self._env = env
        self._tree = tree
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self.lock = threading.RLock()

    @property
    def life(self) -> Life:
        return self.lives[-1]

    def start(self, failpoints: str = "") -> None:
        env = {**self._env, **({"PENSTOCK_FAILPOINTS": failpoints} if failpoints else {})}
        with self.lock:
            self._process = self._forked(env) if self._tree is None else self._new(env, self._tree)
            self.lives.append(Life(self.label, self.role, self._process.pid, now(), failpoints=failpoints))

    def _forked(self, env: dict[str, str]) -> Forked:
        plugins = self.folder / PLUGIN_FOLDER
        path = f"{plugins}:{ROOT}"
        return Forked(self.log, *self._arguments, path=plugins, home=self.folder, PYTHONPATH=path, **env)

    def _new(self, env: dict[str, str], tree: Path) -> subprocess.Popen[bytes]:
        whole = environment(PYTHONPATH=f"{self.folder / PLUGIN_FOLDER}:{tree}", **env)
        command = [*PENSTOCK, *self._arguments]
        with self.log.open("ab") as stream:
            return subprocess.Popen(
                command, stdout=stream, stderr=stream, env=whole, cwd=self.folder, start_new_session=True
            )

    def kill(self) -> Life | None:
        """The loss of its host: the process and all its family. None if it was gone already."""
        with self.lock:
            if self.code() is not None:
                return None
            self.life.cause = "kill"
            families.kill(self.life.pid)
            return self.life

    def signal(self, number: signal.Signals) -> int | None:
        """Send to it and its family; the pid, or None if it is gone."""
        with self.lock:
            if self.code() is not None:
                return None
            for pid in [*families.descendants(self.life.pid), self.life.pid]:
                families.send(pid, number)
            return self.life.pid

    def drain(self) -> int | None:
        """Ask it to end, as an operator does."""
        with self.lock:
            if self.code() is not None:
                return None
            self.life.cause, self.life.asked = self.life.cause or "drain", now()
            self.life.heeded = families.catches(self.life.pid, signal.SIGTERM)
            families.send(self.life.pid, signal.SIGTERM)
            return self.life.pid

    def code(self) -> int | None:
        """What it ended with; None while it lives."""
        with self.lock:
            return self._process.poll() if self._process is not None else 0

    def note_end(self) -> bool:
        """Has it ended? Then its life is over."""
        with self.lock:
            code = self.code()
            if code is None:
                return False
            if self.life.end is None:
                self.life.end, self.life.code = now(), code
            return True


class Crew:
    """All members, and the thread that starts again whoever has ended."""

    def __init__(self, journal: Journal, arm: Callable[[Member], str], fired: Callable[[int], Fault | None]) -> None:
        self.members: list[Member] = []
        self.faults: list[Fault] = []
        """Kills at failpoints."""
        self._journal = journal
        self._arm = arm
        self._fired = fired
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="chaos-crew", daemon=True)

    def start(self) -> None:
        for member in self.members:
            member.start()
        self._thread.start()

    def of(self, role: str) -> list[Member]:
        return [member for member in self.members if member.role == role]

    @property
    def kills(self) -> int:
        """Lives that were ended by SIGKILL, ours or a failpoint's."""
        return sum(life.code == -signal.SIGKILL for member in self.members for life in member.lives)

    @property
    def lives(self) -> list[Life]:
        return [life for member in self.members for life in member.lives]

    def _keep(self) -> None:
        while not self._stopped.wait(KEEP_EVERY_S):
            for member in self.members:
                self._look_after(member)

    def _look_after(self, member: Member) -> None:
        with member.lock:
            if self._stopped.is_set() or not member.note_end():
                return
            self._ended(member)
            member.start(self._arm(member))

    def _ended(self, member: Member) -> None:
        life = member.life
        self._note_failpoint(life)
        if life.code == -signal.SIGKILL:
            families.kill_orphans(life.pid)  # its family goes with its host
        self._journal.write("life", life)

    def _note_failpoint(self, life: Life) -> None:
        """Was it a failpoint that ended it? One on the way out fires after it was told to end."""
        if life.cause == "kill" or life.code != -signal.SIGKILL or (fault := self._fired(life.pid)) is None:
            return
        life.cause = "failpoint"
        fault.details["label"] = life.label
        self.faults.append(fault)
        self._journal.write("fault", fault)

    def stop(self, seconds: float = 20.0) -> None:
        """Ask all to end, and wait; who does not end in time is killed, and its life says so."""
        self._stopped.set()
        self._thread.join(10)
        for member in self.members:
            member.signal(signal.SIGCONT)
            if member.drain() is not None:
                member.life.cause = "stop"
        deadline = time.monotonic() + seconds
        for member in self.members:
            while not member.note_end() and time.monotonic() < deadline:
                time.sleep(0.02)
            if member.code() is None:
                member.kill()
                time.sleep(0.1)
                member.note_end()
                member.life.cause = "stop: did not end in time"
            self._note_failpoint(member.life)
            self._journal.write("life", member.life)

    def close(self) -> None:
        """End whatever is left, also after an error."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)
        for member in self.members:
            if member.lives:
                member.kill()
        if self.members:
            for pid in families.inside(self.members[0].folder):
                if pid != os.getpid():
                    families.kill(pid)
