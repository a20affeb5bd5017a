"""One run: cluster up, load and nemesis, quiescence, everything down, checker."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import invariants
import servers
from sqlalchemy import func, select

from engine.database import Database
from engine.errors import PenstockError
from engine.states import Status
from engine.tables import flow_stat, task_stat
from tests.chaos import checks, families, verdict
from tests.chaos.cluster import Cluster
from tests.chaos.history import History, rows_of
from tests.chaos.load import Load
from tests.chaos.nemesis import Nemesis
from tests.chaos.options import Options
from tests.chaos.records import now, read_effects
from tests.chaos.stalls import Stalls
from tests.chaos.verdict import Verdict

LOOK_EVERY_S = 0.25


def run(options: Options, *, keep: Path | None = None) -> tuple[History, Verdict]:
    """Run and judge. `keep`: a folder that gets a copy of logs, journal and effects."""
    with _folder() as folder:
        begun = time.monotonic()
        history, kills = _history(options, folder)
        if keep is not None:
            _keep(folder, keep)
    violations = checks.check(history)
    return history, verdict.judge(history, violations, kills, time.monotonic() - begun)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Of the run alone, in memory where there is room: real, so that processes can be told by it."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-chaos-", dir=servers.in_memory())).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _history(options: Options, folder: Path) -> tuple[History, int]:
    with contextlib.closing(Cluster(options, folder)) as cluster:
        history, stalls = History(options, folder=folder), Stalls()
        cluster.crew.start()
        stalls.start()
        load, nemesis = Load(options, cluster.ports, cluster.journal), Nemesis(cluster)
        load.start()
        nemesis.run()
        load.stop()
        kills, mended = nemesis.kills, now()
        load.wait(options.settle_s)
        if _await_rest(cluster, options.settle_s):
            history.quiet_after_s = round(now() - mended, 2)
        cluster.crew.stop()
        stalls.stop()
        history.requests, history.unanswered = load.asked.requests, [wish.key for wish in load.unanswered]
        history.faults = sorted([*nemesis.faults, *cluster.crew.faults, *stalls.faults], key=lambda fault: fault.begin)
        _collect(cluster, history)
    return history, kills


def _collect(cluster: Cluster, history: History) -> None:
    """Read both witnesses, now that everybody is gone."""
    history.lives = cluster.crew.lives
    history.effects = read_effects(cluster.effects)
    history.left_over = [*cluster.store.left_over(), *_orphans(cluster.folder)]
    history.logs = {member.label: member.log.read_text().splitlines() for member in cluster.crew.members}
    db = cluster.store.open()
    try:
        history.rows = rows_of(db)
        history.broken = invariants.broken(db, at_rest=True)
    finally:
        db.close()


def _orphans(folder: Path) -> list[str]:
    left = [pid for pid in families.inside(folder) if pid != os.getpid()]
    return [f"process {pid} is left: {_command(pid)}" for pid in left]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return "?"


def _await_rest(cluster: Cluster, seconds: float) -> bool:
    """Wait until nothing is left to run. False if that took too long."""
    db = cluster.store.open()
    until = now() + seconds
    try:
        while now() < until:
            if _is_at_rest(db):
                return True
            time.sleep(LOOK_EVERY_S)
    finally:
        db.close()
    return False


def _is_at_rest(db: Database) -> bool:
    """No task waits or runs, and every flow that is not suspended has ended."""
    unsettled = task_stat.c.exec_status.in_([int(Status.WAIT), int(Status.RUNNING)])
    try:
        with db.read() as conn:
            tasks = conn.scalar(select(func.count()).select_from(task_stat).where(unsettled))
            flows = conn.scalar(select(func.count()).where(flow_stat.c.flow_status.in_([0, 1])))
    except PenstockError:
        return False
    return not tasks and not flows


def _keep(folder: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    found = [*folder.glob("*.log"), folder / "journal.jsonl", folder / "plugin" / "effects.jsonl"]
    found += folder.glob("database/penstock.db*")
    for path in found:
        if path.exists():
            shutil.copy(path, kept / path.name)
