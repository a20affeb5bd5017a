"""A program that leaves a line in a file for everything it does, as a plugin that processes can be given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from forked import Forked

Begin = Callable[..., Forked]
Acted = Callable[[], list[tuple[str, int, str]]]
PLUGIN = """
    import os
    from penstock import Await, Call, hookimpl, program

    def note(call: Call, what: str) -> None:
        line = f"{call.flow_id} {call.exec_seq} {call.attempt}.{len(call.arrivals)} {os.getpid()} {what}\\n"
        opened = os.open(os.environ["WITNESS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(opened, line.encode())
        os.close(opened)

    @program("Witness")
    def witness(call: Call, seconds: float = 0.0, fails: bool = False, awaits: bool = False) -> object:
        note(call, "begun")
        if fails and call.attempt == 1:
            raise RuntimeError("the first try fails")
        if awaits and not call.arrivals:
            return Await("timer", until=0.1)
        if seconds:
            call.sleep(seconds)
        note(call, "done")
        return call.exec_seq

    witness.stays_inside = True  # a task lost twice would run in a child, and nobody could tell whose it was

    @hookimpl
    def penstock_programs() -> list[object]:
        return [witness]
"""


class Effect(NamedTuple):
    """One line of the witness. `run` is what the engine means to happen once: a try, and what had arrived by then."""

    flow_id: str
    seq: int
    run: str
    pid: int
    what: str


class Witness:
    """The plugin's folder and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "effects.log"
        (folder / "witness_plugin.py").write_text(dedent(PLUGIN))
        info = folder / "witness_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: witness-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[penstock]\nwitness_plugin = witness_plugin\n")

    def effects(self) -> list[Effect]:
        if not self.log.exists():
            return []
        found = [line.split() for line in self.log.read_text().splitlines()]
        return [Effect(flow_id, int(seq), run, int(pid), what) for flow_id, seq, run, pid, what in found]

    def pids(self) -> dict[tuple[str, int, str], list[int]]:
        """Which processes began each run of a task, in order."""
        began: dict[tuple[str, int, str], list[int]] = defaultdict(list)
        for effect in self.effects():
            if effect.what == "begun":
                began[effect.flow_id, effect.seq, effect.run].append(effect.pid)
        return began
