"""Writers of one process on one SQLite file take turns, in the order in which they came."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from engine.database import Database, open_database
from engine.dialects.turnstile import Turnstile, turnstile_of
from tests.watcher.waiting import until


def queue(turnstile: Turnstile, names: str, patience_s: float = 30) -> tuple[list[str], list[threading.Thread]]:
    """Let one thread after the other ask for a turn, each once the one before it waits."""
    turns: list[str] = []

    def take(name: str) -> None:
        with turnstile.turn(patience_s):
            turns.append(name)

    threads = []
    for count, name in enumerate(names, 1):
        threads.append(threading.Thread(target=take, args=(name,)))
        threads[-1].start()
        until(lambda least=count: len(turnstile._waiting) >= least or turns)
    return turns, threads


def test_who_came_first_goes_first() -> None:
    turnstile = Turnstile()
    with turnstile.turn(1):
        turns, threads = queue(turnstile, "abcde")
        assert turns == []
    for thread in threads:
        thread.join(30)
    assert turns == list("abcde")


def test_patience_ends_and_the_place_in_the_queue_with_it() -> None:
    turnstile = Turnstile()
    with turnstile.turn(1):
        turns, threads = queue(turnstile, "a", patience_s=0.05)
        threads[0].join(30)
        assert turns == ["a"], "who waited in vain goes on without a turn"
        assert not turnstile._waiting
        late, others = queue(turnstile, "b")
        assert late == [], "and frees nobody else's way"
    others[0].join(30)
    assert late == ["b"]
    with turnstile.turn(0):
        assert turnstile._taken
    assert not turnstile._taken


def test_a_turn_ends_with_what_went_wrong_in_it() -> None:
    turnstile = Turnstile()
    try:
        with turnstile.turn(1):
            raise ValueError
    except ValueError:
        pass
    assert not turnstile._taken


def test_however_often_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    link = tmp_path / "link.db"
    link.symlink_to(path)
    one = turnstile_of(str(path))
    assert turnstile_of(str(link)) is one
    assert turnstile_of(str(tmp_path / "other.db")) is not one


def test_no_writer_of_a_busy_process_is_left_behind(tmp_path: Path) -> None:
    """SQLite alone let one of sixteen wait for two seconds while the others wrote three thousand times each second."""
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    with closing(open_database(url)) as db:
        db.transact(lambda conn: conn.execute(text("CREATE TABLE written (who INTEGER)")))
    counts = [0] * 16
    all_there, stop = threading.Barrier(16), threading.Event()

    def write(who: int, db: Database) -> None:
        with closing(db):
            all_there.wait()
            while not stop.is_set():
                db.transact(lambda conn: conn.execute(text("INSERT INTO written VALUES (1)")))
                counts[who] += 1

    threads = [threading.Thread(target=write, args=(who, open_database(url))) for who in range(16)]
    for thread in threads:
        thread.start()
    until(lambda: sum(counts) >= 1_600)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert min(counts) * 3 >= max(counts), counts
