"""Records taken out in the order of their numbers, from behind one of them, page by page; live: and so on for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from engine.queries.pages import MAX_PAGE
from penstock.doors.door import Document, Page

EVERY_S: Final = 1.0


def take(page: Callable[..., Page], number: str, after: int, *, live: bool) -> Iterator[Document]:
    """`page` is a door's `commands` or `events`, `number` the member that the rows are counted by."""
    while True:
        found = page(after=after, limit=MAX_PAGE)
        for row in found.rows:
            after = row[number]
            yield row
        if found.next is not None:  # rows may have been left out behind the last one that is shown
            after = int(found.next)
        elif live:
            time.sleep(EVERY_S)
        else:
            return
