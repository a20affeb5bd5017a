"""What a program leaves behind in its process, so that the next task gets a process without it.

Looked at after every task, so it must be cheap: a few identities and counters, no walk over all modules.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import builtins
import datetime
import json
import json.decoder
import json.encoder
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from typing import Any, Final

_GUARDED: Final = (builtins, json, json.decoder, json.encoder, time, os, os.path, datetime, random, socket, signal)
"""Modules that programs replace parts of."""
_STREAMS: Final = ("stdin", "stdout", "stderr", "excepthook", "displayhook", "meta_path", "path_hooks")
_SIGNALS: Final = tuple(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""Asked for through _signal, which spares the conversion to names of 60 numbers after every task."""
MORE_THREADS: Final = 16
MORE_FDS: Final = 64


class Traces:
    """Remembers how the process was before its first task."""

    def __init__(self, pipes: tuple[int, int], max_rss_bytes: int) -> None:
        self._max_rss = max_rss_bytes
        self._fds = (0, 1, 2, *pipes)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._list, self._open, self._stat = os.listdir, open, os.fstat  # as they were before any program
        self._before = self._facts()
        self._modules = [(module, dict(vars(module))) for module in _GUARDED]
        self._threads, self._count = threading.active_count(), len(self._list("/proc/self/fd"))

    def found(self) -> tuple[str | None, bool]:
        """Why this process must not run another task, or None; and whether processes are left below it."""
        try:
            processes = self._has_children()
            return ("processes" if processes else self._difference()), processes
        except BaseException as error:  # a process that cannot be looked at is not used again
            return f"cannot be looked at: {type(error).__name__}", True

    def _difference(self) -> str | None:
        facts = self._facts()
        for what, value in self._before.items():
            if facts[what] != value:
                return what
        for module, names in self._modules:
            if vars(module) != names:
                return f"module {module.__name__}"
        if threading.active_count() > self._threads + MORE_THREADS:
            return "threads"
        if len(self._list("/proc/self/fd")) > self._count + MORE_FDS:
            return "file descriptors"
        return "memory" if self._rss() > self._max_rss else None

    def _facts(self) -> dict[str, Any]:
        return {
            "descriptors": [(found.st_dev, found.st_ino) for found in map(self._stat, self._fds)],
            "working directory": os.getcwd(),
            "environment": dict(vars(os.environ)["_data"]),
            "locale": locale.setlocale(locale.LC_ALL),
            "import path": list(sys.path),
            "streams": [id(getattr(sys, name, None)) for name in _STREAMS],
            "recursion limit": sys.getrecursionlimit(),
            "signal handlers": list(map(_signal.getsignal, _SIGNALS)),
            "signal mask": _signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "tracing": (sys.gettrace(), sys.getprofile()),
            "log level": logging.getLogger().level,
        }

    def _has_children(self) -> bool:
        for thread in self._list("/proc/self/task"):
            with self._open(f"/proc/self/task/{thread}/children") as listed:
                if listed.read(1):
                    return True
        return False

    def _rss(self) -> int:
        with self._open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * self._page
