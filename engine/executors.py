"""Where a program may run: the names that `executor` may have, in a definition and in a row. Plain data.

`thread`: in a thread of the watcher. `async`: on the watcher's event loop, beside thousands of others. `process`: in a
child process, the only one that can be stopped whatever the program does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

THREAD, ASYNC, PROCESS = "thread", "async", "process"
EXECUTORS: Final = (THREAD, ASYNC, PROCESS)
COLUMNS: Final = ("executor", "is_exclusive")
EXCLUSIVE_NEEDS: Final = f"an exclusive task needs the executor {PROCESS}"


def problems(executor: Any, is_exclusive: Any) -> Iterator[str]:
    """What is wrong with these two columns, whatever the program is; None leaves the executor to the program."""
    if executor is not None and executor not in EXECUTORS:
        yield f"executor {executor!r} is none of {', '.join(EXECUTORS)}"
    elif is_exclusive and executor not in (None, PROCESS):
        yield f"{EXCLUSIVE_NEEDS}, and its executor is {executor!r}: no other can stop a program in time"
