"""What a run can be told. The same options give the same schedule of faults, flows and failpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("sqlite", "mariadb", "postgresql")
THREADED = "watcher4"
"""The watcher whose heartbeat is a thread; those of the others are processes."""
EXECUTORS = ("thread", "process", "async", "mixed")


@dataclass(frozen=True)
class Options:
    """Units: names that end in `_s` are seconds. A run ends after `kills` or `seconds`, whichever comes first."""

    db: str = "sqlite"
    seed: int = 1
    kills: int = 100
    seconds: float = 600.0
    executor: str = "thread"
    shape: str = "mixed"
    faults: tuple[str, ...] = ()
    """Only these kinds of faults; empty for all that the database allows."""
    kills_per_s: float = 1.0
    flows_per_s: float = 6.0
    watchers: int = 4
    registers: int = 2
    lease_s: float = 4.0
    heartbeat_s: float = 1.0
    interval_s: float = 0.2
    grace_s: float = 5.0
    settle_s: float = 180.0
    """How long everything that was accepted may take to end once all faults are mended."""
    tree: Path = ROOT
    """Whose source the processes run; the harness itself is always this one."""
    more: tuple[str, ...] = field(default=())
    """Further flags for each watcher."""

    @property
    def replay(self) -> str:
        """The command that runs the same schedule again."""
        words = f"make chaos DB={self.db} SEED={self.seed} KILLS={self.kills} SECONDS={self.seconds:g}"
        words += f" EXECUTOR={self.executor} SHAPE={self.shape}"
        args = [f"--tree {self.tree}"] if self.tree != ROOT else []
        args += [f"--faults {','.join(self.faults)}"] if self.faults else []
        defaults = Options()
        for name in ("kills_per_s", "flows_per_s", "lease_s", "heartbeat_s"):
            if (value := getattr(self, name)) != getattr(defaults, name):
                args.append(f"--{name.replace('_', '-')} {value:g}")
        return f"{words} ARGS='{' '.join(args)}'" if args else words
