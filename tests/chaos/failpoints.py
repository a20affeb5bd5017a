"""Which failpoints are armed in which process: drawn from the seed for each life of each process."""

from __future__ import annotations

import random
import re
from pathlib import Path

from tests.chaos.options import THREADED, Options
from tests.chaos.records import Fault

SHARE = {"watcher": 0.8, "register": 0.4}
"""Of the processes that are started again, how many have a failpoint armed."""
MOST_HITS = {"watcher": 4, "register": 40}
"""A failpoint kills at a hit from the first to this one: a register must live long enough to answer many."""
RANDOM_SHARE = 0.5
"""Of all kills, how many come at random where there are failpoints for the others."""
_POINT = re.compile(r'^ +"([a-z]+\.[a-z_]+)":', re.MULTILINE)
_ROLES = {
    "register": ("register",),
    "watcher": ("claim", "dispatch", "settle", "reap", "due", "waits", "drain"),
    THREADED: ("claim", "dispatch", "settle", "heartbeat", "reap", "due", "waits", "drain"),
}
"""In a process of its own, the heartbeat would be killed at each of its beats, and its watcher never."""


def points_of(tree: Path) -> list[str]:
    """The failpoints in the source of this tree; none if it has none yet."""
    source = tree / "engine" / "failpoints.py"
    return sorted(set(_POINT.findall(source.read_text()))) if source.exists() else []


def armed(options: Options, role: str, label: str, life: int, points: list[str]) -> str:
    """The value of PENSTOCK_FAILPOINTS for this life of the process; empty for none. First lives have none."""
    fitting = [point for point in points if point.partition(".")[0] in _ROLES.get(label, _ROLES[role])]
    rng = random.Random(f"{options.seed}/{label}/{life}")
    if life == 0 or not fitting or (options.faults and "failpoint" not in options.faults) or rng.random() > SHARE[role]:
        return ""
    return f"{rng.choice(fitting)}=kill@#{rng.randint(1, MOST_HITS[role])}"


def fired(log: Path, pid: int) -> Fault | None:
    """The failpoint that ended this process, if one did: lines are `name pid action wall monotonic`."""
    if not log.exists():
        return None
    for line in reversed(log.read_text().splitlines()):
        name, of, action, _, mono = line.split()
        if int(of) == pid and action == "kill":
            return Fault("failpoint", name, float(mono), float(mono), pid)
    return None
