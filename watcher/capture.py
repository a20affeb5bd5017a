"""What a program logs while it runs, kept for its attempt.

One handler on the root logger serves all worker threads: a context variable says whose attempt is speaking, so that
`logging.getLogger(__name__)` inside a program is captured just as `call.logger` is.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from contextvars import ContextVar
from typing import Final

from engine import jsontext
from watcher import masking

MAX_CHARS: Final = 65_536
MAX_LINE: Final = 8_192
FORMAT: Final = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


class Transcript:
    """The log of one attempt: the first and the last half of it, with the middle left out once it grows too long."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_chars = self._tail_chars = self._left_out = 0
        self._whole: str | None = None

    def take(self, text: str | None) -> None:
        """The log of a program that ran in another process, kept within bounds already."""
        self._whole = text and masking.mask(text)

    def add(self, line: str) -> None:
        left_out = len(line) - MAX_LINE
        line = masking.cut(line, MAX_LINE)
        if left_out > 0:
            line = f"{line} ... {left_out:,} characters left out"
        if not self._tail and self._head_chars + len(line) <= MAX_CHARS // 2:
            self._head.append(line)
            self._head_chars += len(line)
            return
        self._tail.append(line)
        self._tail_chars += len(line)
        while self._tail_chars > MAX_CHARS // 2:
            self._tail_chars -= len(self._tail.popleft())
            self._left_out += 1

    def text(self) -> str | None:
        """The log as text; None if nothing was logged."""
        if not (self._head or self._tail or self._whole):
            return None
        gap = [f"... {self._left_out:,} lines left out ..."] if self._left_out else []
        return "\n".join([*self._head, *gap, *self._tail, *([self._whole] if self._whole else [])]) or None


_speaking: ContextVar[Transcript | None] = ContextVar("penstock_transcript", default=None)


class _Capture(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        transcript = _speaking.get()
        if transcript is None:
            return
        try:
            line = FORMAT.format(record)
        except Exception:  # a log call with wrong arguments must not fail the task
            what = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            line = f"{record.levelname} {what!r} (its arguments do not fit)"
        transcript.add(line)


_handler: Final = _Capture(logging.INFO)
_TASK_LOGGER: Final = logging.getLogger("penstock.task")


def install() -> None:
    """Listen on the root logger; once per process is enough, more do no harm."""
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
    task_logger().setLevel(logging.INFO)


def task_logger() -> logging.Logger:
    """The logger that programs get. Its level is its own: what a program says is kept whatever the server prints."""
    return _TASK_LOGGER


def one_line(error: BaseException, *, bare: bool = False) -> str:
    """An error as one text, whatever its own methods do; `bare`: without the name of its class."""
    try:
        words = str(error)
    except BaseException:  # an exception whose __str__ raises
        words = "(its message cannot be shown)"
    name = type(error).__name__
    text = words if bare else f"{name}: {words}" if words else name
    return clean(text)


def trace(error: BaseException) -> str:
    """Its traceback as text, whatever its own methods do."""
    try:
        return clean("".join(traceback.format_exception(error)))
    except BaseException:
        return one_line(error)


def clean(text: str) -> str:
    """Text that every database stores and every pipe carries, of bounded length."""
    return jsontext.clean_text(text, MAX_CHARS)


class speaking:  # noqa: N801 - a context manager that reads like a function; a generator would take three times as long
    """What this thread, or coroutine, logs inside the block goes into the transcript."""

    def __init__(self, log: Transcript) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._token = _speaking.set(self._log)

    def __exit__(self, *_: object) -> None:
        _speaking.reset(self._token)
