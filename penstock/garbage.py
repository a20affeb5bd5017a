"""How often Python looks for cycles of garbage in a process that is Penstock's own.

As it comes, Python looks through what is new after every 700 objects, and now and then through everything. A watcher
makes some with each task, hardly any of them in cycles, beside a hundred thousand that belong to modules and stay:
looking took a fifth of its time.
"""

from __future__ import annotations

import gc
from typing import Final

AFTER: Final = 10_000
"""New objects; of programs that leave large things in cycles, not many more wait for it."""


def collect_seldom() -> None:
    """Leave what there is by now out of all looking, and look after more new objects. For a process that has imported
    what it needs, and has no host that decides this for itself: a watcher that is embedded leaves it to its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(AFTER, *gc.get_threshold()[1:])
