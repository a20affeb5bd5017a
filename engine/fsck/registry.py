"""All invariants by name, in the order in which they are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engine.errors import BadRequest
from engine.fsck.attempts import ATTEMPTS
from engine.fsck.flows import FLOWS
from engine.fsck.invariant import Invariant
from engine.fsck.tasks import TASKS
from engine.fsck.waits import WAITS

INVARIANTS: Final[Mapping[str, Invariant]] = {
    invariant.name: invariant for invariant in (*FLOWS, *TASKS, *ATTEMPTS, *WAITS)
}


def chosen(names: Iterable[str] | None, *, at_rest: bool) -> list[Invariant]:
    """Those that are named, else all that must hold now. Errors: BadRequest for a name that there is not."""
    if names is None:
        return [invariant for invariant in INVARIANTS.values() if at_rest or not invariant.at_rest]
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in INVARIANTS]:
        raise BadRequest("names", f"there is no invariant {unknown[0]!r}: there are {', '.join(INVARIANTS)}")
    return [INVARIANTS[name] for name in wanted]
