"""Children that a watcher lends to its workers: how many start at a time, and who gets one that comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from children import below, described
from patience import until

from programs.catalogue import Source
from programs.contract import Stopped
from watcher.executors.children import Children
from watcher.executors.environment import scrubbed
from watcher.executors.limits import Limits
from watcher.executors.process import Child
from watcher.slots import StopSignal

DOOR = """
import pathlib, time
from penstock import hookimpl

@hookimpl
def penstock_programs():
    return []

while not pathlib.Path({open!r}).exists():
    time.sleep(0.01)
"""
Make = Callable[..., Children]


@pytest.fixture
def made() -> Iterator[Make]:
    every: list[Children] = []

    def make(*modules: str, max_starting: int = 1) -> Children:
        limits = Limits(scrubbed({"PATH": "/usr/bin:/bin"}), max_starting=max_starting)
        every.append(Children(Source((), autoload=False, modules=modules), limits))
        return every[-1]

    yield make
    for children in every:
        children.close()
    assert below() == set()


class Borrower(threading.Thread):
    """A worker that wants a child."""

    def __init__(self, children: Children) -> None:
        super().__init__(daemon=True)
        self.children = children
        self.stop = StopSignal()
        self.child: Child | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.child = self.children.borrow(self.stop)
        except Exception as error:
            self.error = error

    def gives_back(self) -> None:
        assert self.child is not None
        self.children.give_back(self.child, is_reusable=True)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is there, children come up; without it they wait while they import their programs."""
    path = tmp_path / "open"
    path.touch()
    (tmp_path / "behind_a_door.py").write_text(DOOR.format(open=str(path)))
    monkeypatch.syspath_prepend(tmp_path)
    return path


def keepers() -> int:
    return sum("keeper.py" in words for words in described(below()).values())


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_start_at_a_time_than_may(made: Make, door: Path, most: int) -> None:
    children = made("behind_a_door", max_starting=most)
    door.unlink()
    wanted = [Borrower(children) for _ in range(5)]
    until(lambda: keepers() == most)
    time.sleep(0.3)
    assert (children.started, keepers()) == (most, most)
    door.touch()
    for one in wanted:
        one.join(20)
    assert [one.error for one in wanted] == [None] * 5
    assert (children.started, keepers()) == (5, 5)
    for one in wanted:
        one.gives_back()


def test_who_waits_takes_a_child_that_comes_back_and_gives_up_when_told(made: Make, door: Path) -> None:
    children = made("behind_a_door")
    first = children.borrow(StopSignal())
    door.unlink()
    starts = Borrower(children)
    until(lambda: children.started == 2)
    waits = Borrower(children)
    children.give_back(first, is_reusable=True)
    waits.join(10)
    assert waits.child is first
    told, late = Borrower(children), Borrower(children)
    told.stop.set()
    told.join(10)
    assert isinstance(told.error, Stopped)
    assert (starts.is_alive(), late.is_alive(), children.started) == (True, True, 2)
    starts.stop.grace_s = 0.1
    starts.stop.set()
    starts.join(10)
    assert isinstance(starts.error, Stopped)
    door.touch()
    late.join(10)
    assert children.started == 3
    for one in (waits, late):
        one.gives_back()


def test_the_end_of_the_watcher_turns_away_who_waits(made: Make, door: Path) -> None:
    children = made("behind_a_door")
    door.unlink()
    wanted = [Borrower(children) for _ in range(3)]
    until(lambda: children.started == 1)
    children.close()
    for one in wanted:
        one.join(10)
    errors = [one.error for one in wanted]
    assert sorted(type(error).__name__ for error in errors) == ["NoChildError", "Stopped", "Stopped"]
    assert children.started == 1
