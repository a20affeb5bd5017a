"""How much one transaction settles: so many bytes, so that a batch never grows into what a server refuses as a packet,
holds its locks for long, or is lost as a whole when the server dies. A plan alone may be more: its rows are small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from engine.settling.settlement import Settlement

MAX_BYTES: Final = 8 * 1024 * 1024
"""Half of what MariaDB takes as one packet by default."""


def portions(batch: Sequence[Settlement], max_bytes: int = MAX_BYTES) -> list[list[Settlement]]:
    """The batch in its order, cut so that no part is heavier than `max_bytes` unless it is one settlement alone.

    Shape: at least one part; of an empty batch an empty one."""
    parts: list[list[Settlement]] = [[]]
    weight = 0
    for item in batch:
        own = weight_of(item)
        if parts[-1] and weight + own > max_bytes:
            parts.append([])
            weight = 0
        parts[-1].append(item)
        weight += own
    return parts


def weight_of(item: Settlement) -> int:
    """Bytes of the texts that a settlement writes."""
    if item.kind == "finish" and item.result is None and item.log is None and item.plan is None:  # most of them
        return 0
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in _texts(item))


def _texts(item: Settlement) -> Iterator[str]:
    texts = [item.result, item.error, item.traceback, item.log, item.wait and item.wait.details]
    if item.plan is not None:
        texts += [task.parameters for task in item.plan.tasks]
    yield from (text for text in texts if text)
