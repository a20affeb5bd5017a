"""Luigi with files as targets, in one process."""

from __future__ import annotations

import os
import sys
from itertools import count as numbers
from pathlib import Path
from typing import Any

import luigi
from driver import CHAIN, DIAMOND, measure
from notes import Notes

FOLDER = Path(os.environ["PEER_FILE"] + ".targets")
NOTES = Notes()
SHAPES = {"queue": {1: ()}, "chain": {n: (n - 1,) if n > 1 else () for n in range(1, CHAIN + 1)}, "diamond10": DIAMOND}
FLOWS = numbers()


class Step(luigi.Task):  # type: ignore[misc]
    flow = luigi.IntParameter()
    shape = luigi.Parameter()
    number = luigi.IntParameter()

    def requires(self) -> list[Any]:
        return [Step(flow=self.flow, shape=self.shape, number=before) for before in SHAPES[self.shape][self.number]]

    def output(self) -> Any:
        return luigi.LocalTarget(str(FOLDER / f"{self.flow}-{self.number}"))

    def run(self) -> None:
        NOTES.note()
        with self.output().open("w") as out:
            out.write("done")


def _flows(count: int, shape: str) -> None:
    behind = {before for steps in SHAPES[shape].values() for before in steps}
    last = [number for number in SHAPES[shape] if number not in behind]
    flows = [next(FLOWS) for _ in range(count)]
    wanted = [Step(flow=flow, shape=shape, number=number) for flow in flows for number in last]
    luigi.build(wanted, local_scheduler=True, log_level="ERROR")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    submits = {
        "queue": (lambda count: _flows(count, "queue"), 1),
        "latency": (lambda count: _flows(count, "queue"), 1),
        "chain": (lambda count: _flows(count, "chain"), CHAIN),
        "diamond10": (lambda count: _flows(count, "diamond10"), len(DIAMOND)),
    }
    measure("luigi, files", submits, sys.argv[1], int(sys.argv[2]) or None)
