"""How long ended flows and records are kept, and their deletion: whole flows, in small batches, in nobody's way."""

from __future__ import annotations

from engine.retention.automatic import Retention
from engine.retention.candidates import ENDED, FINISHED, Wanted
from engine.retention.pruning import Pruned, prune
from engine.retention.records import Gone, prune_records

__all__ = ["ENDED", "FINISHED", "Gone", "Pruned", "Retention", "Wanted", "prune", "prune_records"]
