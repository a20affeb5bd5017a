"""Tests of workflows: a lab that runs them in this process, on a SQLite file, with a clock that the test holds.

With pytest the fixture `lab` is there by itself; anything else opens one by `with open_lab(folder) as lab`.
docs/testing.md has examples.
"""

from __future__ import annotations

from penstock.testing.definitions import Edge, Step, edge, step
from penstock.testing.flow import LabFlow
from penstock.testing.lab import Lab, Unsettled, open_lab

__all__ = ["Edge", "Lab", "LabFlow", "Step", "Unsettled", "edge", "open_lab", "step"]
