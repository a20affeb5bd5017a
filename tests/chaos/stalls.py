"""A third witness, of the machine: when it stood still for so long that a lease may have ended without any fault."""

from __future__ import annotations

import threading

from tests.chaos.records import Fault, now

EVERY_S = 0.1
LATE_S = 0.5


class Stalls:
    """A thread that sleeps, and writes down when it was woken late."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-stalls", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        slept = now()
        while not self._stopped.wait(EVERY_S):
            woken = now()
            if woken - slept > EVERY_S + LATE_S:
                self.faults.append(Fault("stall", "machine", slept, woken))
            slept = woken
