"""What a program logs while it runs, kept for its attempt.

One handler on the root logger serves all worker threads: a context variable says whose attempt is speaking, so that
`logging.getLogger(__name__)` inside a program is captured just as `call.logger` is.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from contextvars import ContextVar
from itertools import islice
from typing import Final, Protocol

from engine import jsontext
from watcher import masking

MAX_CHARS: Final = 65_536
MAX_LINE: Final = 8_192
FORMAT: Final = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


class Printed(Protocol):
    """What a program prints in another process: within bounds and masked."""

    def text(self) -> str | None: ...
    def part(self) -> str | None: ...


class Transcript:
    """The log of one attempt: the first and the last half of it, with the middle left out once it grows too long.

    The attempt's own threads add to it, and the watcher's loop takes parts of it meanwhile.
    """

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_chars = self._tail_chars = self._left_out = 0
        self._told = 0
        """How many lines the parts have had, with those that were left out."""
        self._printed: Printed | None = None
        self._lock = threading.Lock()

    def follow(self, printed: Printed) -> None:
        """The program runs in another process, and prints this."""
        self._printed = printed

    def add(self, line: str) -> None:
        left_out = len(line) - MAX_LINE
        line = masking.cut(line, MAX_LINE)
        if left_out > 0:
            line = f"{line} ... {left_out:,} characters left out"
        with self._lock:
            self._keep(line)

    def _keep(self, line: str) -> None:
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
        if not self._head and self._printed is None:  # most of them
            return None
        with self._lock:
            lines = self._lines(0)
        if self._printed is not None and (printed := self._printed.text()):
            lines.append(printed)
        return "\n".join(lines) or None

    def part(self) -> str | None:
        """What was logged since the last part; None if nothing was. For one thread."""
        with self._lock:
            told, self._told = self._told, len(self._head) + self._left_out + len(self._tail)
            lines = self._lines(told) if told < self._told else []
        printed = None if self._printed is None else self._printed.part()
        return "".join([*(f"{line}\n" for line in lines), printed or ""]) or None

    def _lines(self, told: int) -> list[str]:
        """The lines that are kept from this one on, and how many are not."""
        begins = len(self._head) + self._left_out
        left_out = begins - max(told, len(self._head))
        gap = [f"... {left_out:,} lines left out ..."] if left_out > 0 else []
        return [*self._head[told:], *gap, *islice(self._tail, max(0, told - begins), None)]


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
