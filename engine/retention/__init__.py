"""How long ended flows are kept, and their deletion: whole flows, in small batches, in nobody's way."""

from __future__ import annotations

from engine.retention.automatic import Retention
from engine.retention.candidates import ENDED, FINISHED, Wanted
from engine.retention.pruning import Pruned, prune

__all__ = ["ENDED", "FINISHED", "Pruned", "Retention", "Wanted", "prune"]
