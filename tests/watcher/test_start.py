"""Starting beside a database that answers, and then does not: the watcher waits, as for one that is not there yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from factories import insert_task, rows, task
from proxy import Proxy
from waiting import until
from watching import Watch

from engine.database import Database
from engine.tables import watcher
from penstock import program


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as wire:
        yield wire


@pytest.mark.needs("many_writers")
def test_a_watcher_whose_first_commits_are_not_answered_starts_all_the_same(
    db: Database, watch: Watch, proxy: Proxy
) -> None:
    @program
    def works() -> str:
        return "done"

    key = insert_task(db, program="works")
    proxy.drop_commits(5)  # the enlisting, its look whether it was enlisted, and both once more
    watching = watch(works, url=proxy.url, interval_s=0.1)
    until(lambda: task(db, key).exec_status == 3)
    assert proxy.dropped == 5
    assert watching.lives
    assert [row.watcher_id for row in rows(db, watcher)] == [watching.id]
