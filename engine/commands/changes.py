"""What a command changed, for its record: the columns that differ, as they were and as they are, and no others.

A record must stay small whatever it is about, so long values are cut, and tasks that changed alike stand together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, select

from engine import jsontext
from engine.database import Database
from engine.queries.rows import plain

if TYPE_CHECKING:
    from engine.commands.command import Asked, Work

Side = Mapping[str, Any] | None
"""Columns by name; None: it was not there, or is there no more."""
MAX_VALUE: Final = 1_000
"""Characters of one value as JSON."""
SHOWN: Final = 200
"""Characters of a value that is longer."""
MAX_NAMES: Final = 50
MAX_GROUPS: Final = 20
MAX_SPANS: Final = 50


class Change(NamedTuple):
    """What was there before, and what is there after."""

    before: Side
    after: Side

    def as_json(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after}


class Done(NamedTuple):
    """What a command answers, and what it changed."""

    answer: Mapping[str, Any]
    change: Change


NOTHING: Final = Change({}, {})


def made(**columns: Any) -> Change:
    """Of something that was not there before."""
    return between(None, columns)


def between(before: Side, after: Side) -> Change:
    """The columns that differ; of what was made or taken away, all that hold something."""
    if before is None and after is None:
        return NOTHING
    if before is None or after is None:
        return Change(_filled(before), _filled(after))
    same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    return Change(_but(before, same), _but(after, same))


def state_of(conn: Connection, columns: Sequence[Column[Any]], *where: ColumnElement[bool], lock: bool = False) -> Side:
    """These columns of one row. With `lock` nobody changes the row between this look and the next."""
    query = select(*columns).where(*where)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else plain(row._mapping)


def watched(
    state: Callable[[Connection, Asked[Any], bool], Side],
    work: Callable[[Connection, Database, Asked[Any], Side], Mapping[str, Any]],
) -> Work:
    """The work of a command, with a look at what it is about before and after; `state` is told whether to lock, and
    `work` what was there. Where that was nothing it inserts, and never updates what came in between: the unique key
    then has the command done anew, with another look."""

    def run(conn: Connection, db: Database, asked: Asked[Any]) -> Done:
        before = state(conn, asked, db.can.row_locks)
        answer = work(conn, db, asked, before)
        return Done(answer, between(before, state(conn, asked, False)))

    return run


def in_groups(tasks: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tasks by run number, those together of which the columns say the same: `seqs` is `1-3,7`."""
    groups: dict[str, tuple[list[int], Mapping[str, Any]]] = {}
    for seq, columns in sorted(tasks.items()):
        groups.setdefault(jsontext.dumps(dict(columns)), ([], columns))[0].append(seq)
    told = [{"seqs": spans(seqs), **columns} for seqs, columns in groups.values()]
    return told[:MAX_GROUPS] + ([{"more": len(told) - MAX_GROUPS}] if len(told) > MAX_GROUPS else [])


def spans(seqs: Collection[int]) -> str:
    """Ascending numbers as `1-3,7`; behind the fiftieth span only how many more there are."""
    found: list[list[int]] = []
    for seq in seqs:
        if found and seq == found[-1][1] + 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in found[:MAX_SPANS]]
    left = sum(last - first + 1 for first, last in found[MAX_SPANS:])
    return ",".join(words) + (f" and {left} more" if left else "")


def of_members(old: str | None, new: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of two JSON objects in a column that differ, the first fifty of them; what is no object has none."""
    change = between(_members(old), _members(new))
    before, after = dict(change.before or {}), dict(change.after or {})
    names = sorted(before.keys() | after.keys())[:MAX_NAMES]
    return _only(before, names), _only(after, names)


def _members(text: str | None) -> dict[str, Any]:
    try:
        return dict(jsontext.loads_object(text or "{}"))
    except jsontext.NotJSON:
        return {}


def _shortened(value: Any) -> Any:
    """The value, or how its JSON begins."""
    text = jsontext.dumps(value)
    return value if len(text) <= MAX_VALUE else f"{text[:SHOWN]} ... ({len(text)} characters)"


def _filled(side: Side) -> Side:
    return None if side is None else {name: value for name, value in side.items() if value is not None}


def _but(side: Mapping[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name not in left_out}


def _only(side: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name[:SHOWN]: _shortened(side[name]) for name in names if name in side}
