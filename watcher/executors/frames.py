"""Frames between a watcher and its children: the length in four bytes, then that many bytes of JSON.

JSON, never pickle: what a program answers is data, whatever it tries. A frame of absurd length, or one that holds no
object, is refused before it is read to its end.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from engine import jsontext

_dumps, _loads = json.dumps, json.loads
"""As they were before any program replaced them."""
HEADER: Final = struct.Struct("!I")
OVERHEAD: Final = 512 * 1024
"""What an answer may carry beside the result: error, traceback, names."""
MAX_ANSWER: Final = jsontext.MAX_RESULT_BYTES + OVERHEAD
"""Bytes of one frame from a child."""


class BadFrame(Exception):
    """What came over the pipe is no frame; the message says why. `is_big`: it is longer than it may be."""

    def __init__(self, words: str, *, is_big: bool = False) -> None:
        self.is_big = is_big
        super().__init__(words)


def pack(message: dict[str, Any], max_bytes: int | None = None) -> bytes:
    """The message as a frame. Errors: BadFrame if it is too big, ValueError and the like if it is not JSON."""
    body = _dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if max_bytes is not None and len(body) > max_bytes:
        raise BadFrame(f"is {len(body):,} bytes, more than the {max_bytes:,} that may cross", is_big=True)
    return HEADER.pack(len(body)) + body


class Reader:
    """Puts frames together from the pieces that a pipe gives."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()

    @property
    def is_empty(self) -> bool:
        return not self._held

    def feed(self, piece: bytes) -> None:
        self._held += piece

    def next(self) -> dict[str, Any] | None:
        """The next message that is complete, None without one. Errors: BadFrame."""
        if len(self._held) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._held)
        if self._max_bytes is not None and length > self._max_bytes:
            words = f"a frame of {length:,} bytes, more than the {self._max_bytes:,} that may cross"
            raise BadFrame(words, is_big=bytes(self._held[HEADER.size : HEADER.size + 1]) in (b"", b"{"))
        end = HEADER.size + length
        if len(self._held) < end:
            return None
        body = bytes(self._held[HEADER.size : end])
        del self._held[:end]
        try:
            message = _loads(body.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise BadFrame(f"a frame that is no JSON: {str(error)[:200]}") from None
        if not isinstance(message, dict):
            raise BadFrame("a frame that holds no object")
        return message
