"""How often Python looks for garbage, in a watcher's own process and in one that embeds a watcher."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from factories import define, start, task
from processes import environment

from engine.database import Database
from penstock.garbage import AFTER

WATCHER = """
import gc, sys
from engine.database import open_database
from penstock.services import run_watcher
from programs.catalogue import build_catalogue
from programs.contract import FunctionProgram
from watcher.loop import Watcher
from watcher.settings import Settings

def looked_after() -> dict:
    return {"after": gc.get_threshold()[0], "left_out": gc.get_freeze_count()}

db = open_database(sys.argv[1])
db.probe()
watcher = Watcher(db, build_catalogue(plugins=[], extra=[FunctionProgram(looked_after)]), Settings())
run_watcher(watcher, until_idle=True) if sys.argv[2] == "own" else watcher.run(until_idle=True)
"""


@pytest.mark.by_turns
@pytest.mark.parametrize("process", ["own", "embedding"])
def test_only_processes_of_penstocks_own_look_seldom(db: Database, url: str, process: str) -> None:
    define(db, program="looked_after")
    key = (start(db), 1)
    subprocess.run([sys.executable, "-c", WATCHER, url, process], env=environment(), timeout=60, check=True)
    found = json.loads(task(db, key).result)
    if process == "own":
        assert found["after"] == AFTER
        assert found["left_out"] > 10_000
    else:
        assert found == {"after": 700, "left_out": 0}
