"""Starting beside a database that answers, and then does not: the watcher waits, as for one that is not there yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from factories import insert_task, rows, task
from patience import until
from proxy import Proxy
from watching import Watch

from engine.database import Database, open_database
from engine.errors import DatabaseUnavailable
from engine.tables import watcher
from penstock import program
from watcher.lease import Heartbeat
from watcher.settings import Settings


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


@pytest.mark.needs("many_writers")
def test_without_a_lease_that_is_certain_it_does_not_start(db: Database, proxy: Proxy) -> None:
    """Whoever claims without a row in kr_watcher loses the tasks to the first who looks."""
    opened = open_database(proxy.url)
    heartbeat = Heartbeat(opened, "w", Settings(heartbeat_in="thread"))
    with heartbeat._db.read():
        pass  # connected: what is dropped first is the answer to its first COMMIT
    proxy.drop_commits(4)
    with pytest.raises(DatabaseUnavailable):
        heartbeat.start()
    assert not heartbeat.holds
    proxy.drop_commits(-proxy.dropping)
    heartbeat.start()
    assert heartbeat.holds
    heartbeat.stop()
    opened.close()
