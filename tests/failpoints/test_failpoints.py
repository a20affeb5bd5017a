"""The points themselves: named once, placed once, armed by the environment alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from processes import environment

from engine.errors import OutcomeUnknown
from engine.failpoint_rules import Rule, read_rules
from engine.failpoints import POINTS, Armed, FailpointError

ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "programs", "register", "watcher", "penstock", "sql")
POINT = "settle.before"


def test_every_point_is_placed_and_every_place_is_named() -> None:
    sources = [path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    calls = [call for text in sources for call in re.findall(r"\bhit\(([^)]*)\)", text) if "name" not in call]
    placed = Counter(name for call in calls for name in re.findall(r'"([^"]+)"', call))
    assert placed.keys() == POINTS.keys()
    moments = ("after_moves", "after_successors", "after_counters", "before_commit")
    both_ways = {f"settle.{moment}" for moment in moments}  # a settlement goes the short or the long way
    assert {name for name, count in placed.items() if count > 1} == both_ways
    assert len(POINTS) >= 26


def test_rules_are_read() -> None:
    spec = "settle.*=kill@0.02; claim.after_commit=stop:3@1/5;register.after_commit=raise;due.before_commit=kill@#3;"
    assert read_rules(spec) == [
        Rule("settle.*", "kill", share=0.02),
        Rule("claim.after_commit", "stop", seconds=3, most=5),
        Rule("register.after_commit", "raise"),
        Rule("due.before_commit", "kill", nth=3),
    ]


BAD = {
    "settle.nowhere=kill": "no failpoint is called 'settle.nowhere'",
    "settle.before": "cannot be read",
    "settle.before=explode": "no action 'explode'",
    "settle.before=sleep": "for how long",
    "settle.before=kill:3": "only sleep and stop have",
    "settle.before=kill@0": "outside of 0 to 1",
    "settle.before=kill@2": "outside of 0 to 1",
}


@pytest.mark.parametrize("spec", BAD)
def test_a_bad_spec_stops_the_process_at_its_start(spec: str) -> None:
    with pytest.raises(ValueError, match=re.escape(BAD[spec])):
        Armed(spec)


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = environment(**env)
    return subprocess.run([sys.executable, "-c", code], env=given, cwd=ROOT, timeout=60, capture_output=True, text=True)


HIT = f"from engine.failpoints import hit; hit({POINT!r}); print('lives')"


def test_nothing_but_the_environment_arms_a_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plain = run(HIT, PENSTOCK_FAILPOINTS_LOG=str(log), PENSTOCK_FAILPOINTS_SEED="1")
    assert (plain.stdout, plain.stderr, plain.returncode, log.exists()) == ("lives\n", "", 0, False)
    bad = run(HIT, PENSTOCK_FAILPOINTS="nowhere=kill")
    assert (bad.stdout, bad.returncode) == ("", 1)
    assert "PENSTOCK_FAILPOINTS: no failpoint is called 'nowhere'" in bad.stderr
    killed = run(HIT, PENSTOCK_FAILPOINTS=f"{POINT}=kill", PENSTOCK_FAILPOINTS_LOG=str(log))
    assert (killed.stdout, killed.returncode) == ("", -signal.SIGKILL)
    assert "failpoints are armed" in killed.stderr
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [(name, action) for name, _, action, *_ in lines] == [(POINT, "hit"), (POINT, "kill")]
    assert all(abs(float(wall) - time.time()) < 120 for *_, wall, _ in lines)


def test_a_stopped_process_goes_on_by_itself() -> None:
    began = time.monotonic()
    stopped = run(HIT, PENSTOCK_FAILPOINTS=f"{POINT}=stop:0.5")
    assert (stopped.stdout, stopped.returncode) == ("lives\n", 0)
    assert time.monotonic() - began >= 0.5


def acts(armed: Armed, times: int) -> list[bool]:
    found = []
    for _ in range(times):
        try:
            armed.hit(POINT)
            found.append(False)
        except FailpointError:
            found.append(True)
    return found


def test_when_a_rule_acts(tmp_path: Path) -> None:
    assert acts(Armed(f"{POINT}=raise@#3"), 5) == [False, False, True, False, False]
    assert acts(Armed(f"{POINT}=raise/2"), 4) == [True, True, False, False]
    by_chance = [acts(Armed(f"{POINT}=raise@0.3", seed="7", label=label), 200) for label in ("a", "a", "b")]
    assert by_chance[0] == by_chance[1] != by_chance[2]
    assert 30 < sum(by_chance[0]) < 90
    log = tmp_path / "log"
    assert acts(Armed("settle.*=note", log=str(log)), 3) == [False] * 3
    assert log.read_text().split()[:3] == [POINT, str(os.getpid()), "hit"]
    assert len(log.read_text().splitlines()) == 1


def test_an_answer_can_be_lost() -> None:
    with pytest.raises(OutcomeUnknown, match=r"settle\.before"):
        Armed(f"{POINT}=lose").hit(POINT)
