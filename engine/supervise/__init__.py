"""The sweep: rows of silent watchers go back, due times fire, and what a person changed by SQL is obeyed.

Every step is its own transaction of a bounded number of rows, and any watcher may do it: the guards on each update make
further sweepers harmless.
"""

from __future__ import annotations

from engine.supervise.by_hand import note_paused, pass_on
from engine.supervise.due_times import fire_due
from engine.supervise.holdings import give_back, held_by, let_go
from engine.supervise.reaping import reap

__all__ = ["fire_due", "give_back", "held_by", "let_go", "note_paused", "pass_on", "reap"]
