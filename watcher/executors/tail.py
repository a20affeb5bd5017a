"""What a child prints, kept within bounds: its head and its tail, whatever it prints."""

from __future__ import annotations

from collections import deque
from typing import Final

from watcher import capture

HALF: Final = capture.MAX_CHARS // 2


class Tail:
    """Bytes in, text out. The middle is dropped in whole pieces, without a look at its lines, so that a program that
    prints a gigabyte costs its watcher no memory and little time."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._last: deque[bytes] = deque()
        self._kept = 0
        self._dropped = 0

    def add(self, piece: bytes) -> None:
        if room := HALF - len(self._head):
            self._head += piece[:room]
            piece = piece[room:]
        if not piece:
            return
        self._last.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._last[0]) >= HALF:
            gone = len(self._last.popleft())
            self._kept -= gone
            self._dropped += gone

    def text(self) -> str | None:
        """The log as text, None without any."""
        tail = b"".join(self._last)
        dropped = self._dropped + max(0, len(tail) - HALF)
        if not dropped:
            return (bytes(self._head) + tail).decode(errors="replace").rstrip("\n") or None
        head, end = self._head.decode(errors="replace"), tail[-HALF:].decode(errors="replace")
        return f"{head}\n... {dropped:,} bytes left out ...\n{end}".rstrip("\n")
