"""A file in which tasks of any process note when they ran, cheaply enough for every peer: eight bytes a task."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

_TIME = struct.Struct("d")


class Notes:
    """Named by the environment variable PEER_NOTES, so that workers find it. Times are of the machine's monotonic
    clock, which its processes share."""

    def __init__(self) -> None:
        self.path = Path(os.environ["PEER_NOTES"])
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self) -> None:
        """One task ran."""
        os.write(self._file, _TIME.pack(time.monotonic()))

    def count(self) -> int:
        return self.path.stat().st_size // _TIME.size

    def await_count(self, count: int, seconds: float = 300.0) -> float:
        """The time of the last note, once there are so many. Errors: TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.count()} of {count} tasks ran within {seconds:g} s")
            time.sleep(0.0005)
        return max(number for (number,) in _TIME.iter_unpack(self.path.read_bytes()))

    def clear(self) -> None:
        os.truncate(self.path, 0)
