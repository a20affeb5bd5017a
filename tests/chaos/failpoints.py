"""Which failpoints are armed in which process: drawn from the seed for each life of each process."""

from __future__ import annotations

import random
import re
from pathlib import Path

from tests.chaos.options import Options
from tests.chaos.records import Fault

SHARE = 0.5
"""Of the processes that are started again, how many have a failpoint armed."""
_HIT = re.compile(r'\bhit\("([a-z_.]+)"')
_ROLES = {"register": ("register",), "watcher": ("claim", "dispatch", "settle", "heartbeat", "reap")}


def points_of(tree: Path) -> list[str]:
    """The failpoints in the source of this tree; none if it has none yet."""
    if not (tree / "engine" / "failpoints.py").exists():
        return []
    rooms = [path for room in ("engine", "register", "watcher") for path in sorted((tree / room).rglob("*.py"))]
    return sorted({name for path in rooms for name in _HIT.findall(path.read_text())})


def armed(options: Options, role: str, label: str, life: int, points: list[str]) -> str:
    """The value of PENSTOCK_FAILPOINTS for this life of the process; empty for none. First lives have none."""
    fitting = [point for point in points if point.partition(".")[0] in _ROLES[role]]
    rng = random.Random(f"{options.seed}/{label}/{life}")
    if life == 0 or not fitting or (options.faults and "failpoint" not in options.faults) or rng.random() > SHARE:
        return ""
    return f"{rng.choice(fitting)}=kill@#{rng.randint(1, 12)}"


def fired(log: Path, pid: int) -> Fault | None:
    """The failpoint that ended this process, if one did: lines are `name pid action monotonic wall`."""
    if not log.exists():
        return None
    for line in reversed(log.read_text().splitlines()):
        name, of, action, mono, *_ = line.split()
        if int(of) == pid and action.startswith("kill"):
            return Fault("failpoint", name, float(mono), float(mono), pid)
    return None
