"""The nemesis: carries out the schedule on a cluster, and writes down what it did, when, and to whom."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from engine.errors import PenstockError
from tests.chaos import failpoints, families, poison
from tests.chaos.cluster import Cluster
from tests.chaos.crew import Member
from tests.chaos.records import Fault, now
from tests.chaos.schedule import OF_REGISTERS, Step, kinds_for, plan
from tests.chaos.store import ServerStore, SQLiteStore
from tests.chaos.wire import Wire

LOST_COMMITS = 5


class Nemesis:
    """`run` returns after so many kills or seconds, with everything mended."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.options = cluster.options
        self.kinds = kinds_for(self.options, cluster.store.faults)
        self._share = failpoints.RANDOM_SHARE if cluster.points else 1.0
        self.faults: list[Fault] = []
        self.steps: list[Step] = []
        """Those that were carried out."""
        self.own_kills = 0
        """SIGKILLs that ended no member: those of the database and of children."""
        self._begun = now()
        self._over = threading.Event()
        self._lasting: list[threading.Thread] = []
        self._at_the_database = threading.Lock()
        self._of_target = {member.label: threading.Lock() for member in cluster.crew.members}

    @property
    def kills(self) -> int:
        return self.cluster.crew.kills + self.own_kills

    def run(self) -> None:
        """Carry out the schedule until there were enough kills, or until the time is over; then mend everything."""
        self._begun = self.cluster.begun = now()
        try:
            for step in plan(self.options, self.kinds, self._share):
                if not self._await(step.at):
                    return
                self.steps.append(step)
                self._begin(step)
        finally:
            self._over.set()
            for thread in self._lasting:
                thread.join(120)
            self.cluster.mend()

    def _await(self, at: float) -> bool:
        """Wait for a moment of the schedule; False if the run is over before."""
        while True:
            passed = now() - self._begun
            if self.kills >= self.options.kills or passed >= self.options.seconds:
                return False
            if passed >= at:
                return True
            self._over.wait(min(0.05, at - passed))

    def _begin(self, step: Step) -> None:
        if step.kind == "kill-watcher":
            self._kill(self._pick("watcher", step))
        elif step.kind == "kill-register":
            self._kill(self._pick("register", step))
        elif step.kind == "kill-child":
            self._kill_child(self._pick("watcher", step), step)
        else:
            thread = threading.Thread(target=self._last, args=(step,), name=f"chaos-{step.kind}", daemon=True)
            self._lasting.append(thread)
            thread.start()

    def _pick(self, role: str, step: Step) -> Member:
        members = self.cluster.crew.of(role)
        return members[step.watcher if role == "watcher" else step.register]

    def _kill(self, member: Member) -> None:
        at = now()
        if (life := member.kill()) is not None:
            self._note(Fault(f"kill-{member.role}", member.label, at, now(), life.pid))

    def _kill_child(self, member: Member, step: Step) -> None:
        with member.lock:
            if member.code() is not None:
                return
            children = sorted(families.descendants(member.life.pid))
            if children and families.send(pid := children[int(step.draw * len(children))], signal.SIGKILL):
                self.own_kills += 1
                self._note(Fault("kill-child", member.label, now(), now(), pid, {"watcher": member.life.pid}))

    def _last(self, step: Step) -> None:
        actions: dict[str, Callable[[Step], None]] = {
            "stop": self._stop,
            "drain": self._drain,
            "roll": self._roll,
            "poison": self._poison,
            "lock": self._lock,
            "kill-database": self._kill_database,
            "disk-full": self._fill_disk,
        }
        actions.get(step.kind, self._on_a_wire)(step)

    def _any(self, step: Step) -> Member:
        """Any member, watchers more often than registers."""
        return self._pick("register" if step.draw < OF_REGISTERS else "watcher", step)

    def _stop(self, step: Step) -> None:
        member = self._any(step)
        with self._of_target[member.label]:
            pid = member.signal(signal.SIGSTOP)
            if pid is None:
                return
            with self._recorded("stop", member.label, pid):
                self._wait_or_death(member, pid, step.span_s)
                if member.life.pid == pid:
                    member.signal(signal.SIGCONT)

    def _wait_or_death(self, member: Member, pid: int, seconds: float) -> None:
        until = now() + seconds
        while now() < until and not self._over.wait(0.02):
            if member.life.pid != pid or member.code() is not None:
                return

    def _drain(self, step: Step) -> None:
        self._drain_one(self._any(step))

    def _drain_one(self, member: Member) -> None:
        with self._of_target[member.label]:
            pid = member.drain()
            if pid is not None:
                with self._recorded("drain", member.label, pid):
                    self._wait_or_death(member, pid, self.options.grace_s + 10)

    def _roll(self, step: Step) -> None:
        with self._recorded("roll", "all", None):
            for member in self.cluster.crew.members:
                if self._over.is_set():
                    return
                self._drain_one(member)
                self._over.wait(0.5)

    def _poison(self, step: Step) -> None:
        db = self.cluster.store.open()
        try:
            reason = poison.insert_row(db, step.number)
        except PenstockError as error:
            reason = f"refused: {error}"
        finally:
            db.close()
        self._note(Fault("poison", "database", now(), now(), None, {"reason": reason}))

    def _lock(self, step: Step) -> None:
        with self._at_the_database, self._recorded("lock", "database", None):
            try:
                with self.cluster.store.locked():
                    self._over.wait(step.span_s)
            except PenstockError:
                pass  # somebody else held the lock all the time

    def _kill_database(self, step: Step) -> None:
        store = self.cluster.store
        assert isinstance(store, ServerStore)
        with self._at_the_database, self._recorded("kill-database", "database", None):
            store.kill()
            self.own_kills += 1
            self._over.wait(step.span_s)
            store.restart()

    def _fill_disk(self, step: Step) -> None:
        store = self.cluster.store
        assert isinstance(store, SQLiteStore)
        with self._at_the_database, self._recorded("disk-full", "database", None), store.full():
            self._over.wait(step.span_s)

    def _on_a_wire(self, step: Step) -> None:
        member = self._any(step)
        wire = self.cluster.wires[member.label]
        with self._of_target[member.label], self._recorded(step.kind, member.label, None), self._upset(wire, step):
            self._over.wait(step.span_s)

    @contextmanager
    def _upset(self, wire: Wire, step: Step) -> Iterator[None]:
        match step.kind:
            case "cut":
                wire.cut()
            case "freeze":
                wire.freeze()
            case "one-way":
                wire.one_way()
            case "delay":
                wire.delay_s = 0.01 + step.draw / 5
            case "throttle":
                wire.bytes_per_s = 20_000 + 100_000 * step.draw
            case "drop-commits":
                wire.drop_commits(1 + int(step.draw * LOST_COMMITS))
        try:
            yield
        finally:
            wire.mend()

    def _recorded(self, kind: str, target: str, pid: int | None) -> AbstractContextManager[Fault]:
        return _recorded(self, Fault(kind, target, now(), None, pid))

    def _note(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.cluster.journal.write("fault", fault)


@contextmanager
def _recorded(nemesis: Nemesis, fault: Fault) -> Iterator[Fault]:
    nemesis.faults.append(fault)
    try:
        yield fault
    finally:
        fault.end = now()
        nemesis.cluster.journal.write("fault", fault)
