"""Mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.database import Database
from engine.fsck.checking import Finding


@dataclass(frozen=True)
class Repair:
    name: str


def repair(db: Database, findings: Sequence[Finding], *, dry_run: bool = False) -> list[Repair]:
    raise NotImplementedError
