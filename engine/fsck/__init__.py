"""Checking the tables against the invariants that promise something of them, and mending what can be mended safely."""

from __future__ import annotations

from engine.fsck.checking import Finding, Violation, check
from engine.fsck.invariant import Invariant
from engine.fsck.registry import INVARIANTS
from engine.fsck.repairing import Outcome, Repair, repair

__all__ = ["INVARIANTS", "Finding", "Invariant", "Outcome", "Repair", "Violation", "check", "repair"]
