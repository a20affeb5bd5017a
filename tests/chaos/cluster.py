"""A private installation: a database, a wire for each process, registers and watchers with short leases."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import servers

from tests.chaos import failpoints, shapes, store
from tests.chaos.crew import PLUGIN_FOLDER, Crew, Member
from tests.chaos.options import ROOT, THREADED, Options
from tests.chaos.records import Fault, Journal, now
from tests.chaos.schedule import spared
from tests.chaos.wire import Wire

MAX_LOSSES = 1_000
"""Where a watcher lives for a few seconds only, ten in a row are no sign that a task ends them."""
PLUGIN = "penstock_chaos_witness"


class Cluster:
    """Everything in one folder; `close` leaves nothing of it running."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.journal = Journal(folder / "journal.jsonl")
        self.effects = folder / PLUGIN_FOLDER / "effects.jsonl"
        self.failpoint_log = folder / "failpoints.log"
        self.points = failpoints.points_of(options.tree)
        self.wires: dict[str, Wire] = {}
        self.ports: list[int] = []
        self.begun = now()
        """When the schedule began."""
        refuse_unknown_executor(options)
        install_witness(folder / PLUGIN_FOLDER)
        self.store = store.make(options.db, folder)
        self.crew = Crew(self.journal, self._arm, self._fired)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        db = self.store.open()
        try:
            shapes.define(db, self.options.executor, self.options.seed)
        finally:
            db.close()
        self.crew.members += self._members()

    def _fired(self, pid: int) -> Fault | None:
        return failpoints.fired(self.failpoint_log, pid)

    def _members(self) -> list[Member]:
        options = self.options
        members = []
        for number in range(1, options.registers + 1):
            port = servers.free_port()
            self.ports.append(port)
            arguments = ["serve", "--port", str(port), "--host", "127.0.0.1"]
            members.append(self._member(f"register{number}", "register", arguments))
        flags = {
            "--lease": options.lease_s,
            "--heartbeat": options.heartbeat_s,
            "--interval": options.interval_s,
            "--grace": options.grace_s,
            "--max-losses": MAX_LOSSES,
        }
        given = [part for name, value in flags.items() for part in (name, f"{value:g}")]
        for number in range(1, options.watchers + 1):
            label = f"watcher{number}"
            beats = ["--heartbeat-in", "thread"] if label == THREADED else []
            arguments = ["watch", "--label", label, "--keep-attempts", *given, *beats, *options.more]
            members.append(self._member(label, "watcher", arguments))
        return members

    def _member(self, label: str, role: str, arguments: list[str]) -> Member:
        url = self.store.url
        if self.options.db != "sqlite":
            wire = self.wires[label] = Wire(url)
            url = wire.url
        env = {
            "PENSTOCK_DB": url,
            "PENSTOCK_FAILPOINTS_LOG": str(self.failpoint_log),
        }
        tree = None if self.options.tree == ROOT else self.options.tree
        return Member(label, role, arguments, self.folder, env, tree)

    def _arm(self, member: Member) -> str:
        if member.label == f"watcher{spared(self.options, now() - self.begun) + 1}":
            return ""
        return failpoints.armed(self.options, member.role, member.label, len(member.lives), self.points)

    def mend(self) -> None:
        """Everything between the processes and their database works again."""
        for wire in self.wires.values():
            wire.mend()

    def close(self) -> None:
        self.crew.close()
        for wire in self.wires.values():
            wire.close()
        self.store.close()
        self.journal.close()


def install_witness(folder: Path) -> None:
    """The plugin of the witness programs, as pip would leave it."""
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("witness.py"), folder / f"{PLUGIN}.py")
    info = folder / f"{PLUGIN}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[penstock]\n{PLUGIN} = {PLUGIN}\n")


def refuse_unknown_executor(options: Options) -> None:
    """Errors: SystemExit if the tree has no such executor: its tasks would run in threads, and prove nothing."""
    if options.executor != "thread" and not (options.tree / "watcher" / "executors").is_dir():
        where = "this tree" if options.tree == ROOT else options.tree
        sys.exit(f"EXECUTOR={options.executor}: the watchers of {where} know threads only; use EXECUTOR=thread")
