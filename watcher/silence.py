"""Did the database answer, or was there silence? A refusal means that nobody else can claim either; silence may mean
that this watcher alone is cut off."""

from __future__ import annotations

import re
from typing import Final

_ANSWERS: Final = re.compile(
    r"refused|starting up|shutting down|shutdown|recovery|read.only|too many (connections|clients)|locked|"
    r"remaining connection slots|deadlock|denied|authentication failed",
    re.IGNORECASE,
)


def is_silence(error: BaseException) -> bool:
    """Of a beat that failed: was it a time-out or a cut connection, rather than an answer?"""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, ConnectionRefusedError) or _ANSWERS.search(str(cause)):
            return False
        cause = cause.__cause__ or cause.__context__
    return True
