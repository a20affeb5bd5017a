"""What a child prints, kept within bounds: its head and its tail, whatever it prints."""

from __future__ import annotations

import codecs
import threading
from collections import deque
from typing import Final

from watcher import capture, masking

HALF: Final = capture.MAX_CHARS // 2
_decoder: Final = codecs.getincrementaldecoder("utf-8")


class Tail:
    """Bytes in, text out. The middle is dropped in whole pieces, without a look at its lines, so that a program that
    prints a gigabyte costs its watcher no memory and little time. One thread adds; the watcher's loop takes parts."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._last: deque[bytes] = deque()
        self._kept = 0
        self._dropped = 0
        self._told = 0
        """How many bytes the parts have had, with those that were left out."""
        self._decode = _decoder(errors="replace")
        self._pieces = masking.Pieces()
        self._lock = threading.Lock()

    def add(self, piece: bytes) -> None:
        with self._lock:
            self._keep(piece)

    def _keep(self, piece: bytes) -> None:
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
        """The log as text, masked; None without any."""
        with self._lock:
            head, tail, dropped = bytes(self._head), b"".join(self._last), self._dropped
        dropped += max(0, len(tail) - HALF)
        if not dropped:
            return masking.mask((head + tail).decode(errors="replace")).rstrip("\n") or None
        pieces = masking.Pieces()
        begun = pieces.next(head.decode(errors="replace"))
        pieces.gap()
        end = pieces.last(tail[-HALF:].decode(errors="replace"))
        return f"{begun}\n... {dropped:,} bytes left out ...\n{end}".rstrip("\n")

    def part(self) -> str | None:
        """What was printed since the last part, masked; None if nothing was. For one thread."""
        with self._lock:
            size = len(self._head) + self._dropped + self._kept
            if size == self._told:
                return None
            told, self._told = self._told, size
            before, after = bytes(self._head[told:]), b"".join(self._last)
        begins = size - len(after)
        after = after[max(0, told - begins) :][-HALF:]
        left_out = size - told - len(before) - len(after)
        shown = self._pieces.next(self._decode.decode(before)) if before else ""
        if left_out:
            self._decode.reset()
            self._pieces.gap()
            shown += f"\n... {left_out:,} bytes left out ...\n"
        return shown + self._pieces.next(self._decode.decode(after)) or None
