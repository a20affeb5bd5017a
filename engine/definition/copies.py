"""The rows that a registration copies a definition into: task instances and their edges, for many flows at once.

What is the same in every flow of a workflow is worked out once per definition. Columns that no row of a batch has a
value for are left to the database's defaults, so that plain workflows do not pay for what they do not use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine import jsontext
from engine.definition import limit_keys
from engine.definition.reading import KEPT, as_json
from engine.definition.step import Definition, Draft
from engine.states import Status

if TYPE_CHECKING:
    from engine.flows import Registration

_FILLERS: Final = {"queue": "default"}
"""What a row has in a column that others of its batch give a value, where that is not NULL."""


class Wanted(NamedTuple):
    """A registration that can be made: `parameters` and `priority` are the flow's, the workflow's own filled in; `keys`
    holds the limit keys of its tasks by run number."""

    wish: Registration
    definition: Definition
    parameters: Mapping[str, Any]
    priority: int | None
    keys: Mapping[int, str]


def task_rows(wanted: Sequence[Wanted], instant: datetime | None) -> list[dict[str, Any]]:
    """The rows of kr_task_stat, all with the same columns."""
    bases = {item.definition: _bases(item.definition) for item in wanted}
    extras = columns_of(row for alike in bases.values() for row in alike)
    filler = {name: _FILLERS.get(name) for name in extras}
    rows: list[dict[str, Any]] = []
    for item in wanted:
        same: dict[str, Any] = {"task_flow_id": item.wish.flow_id, "registered_ts": instant}
        if item.priority is not None:
            same["task_priority"] = item.priority
        given = item.wish.parameters or {}
        for draft, base in zip(item.definition.drafts, bases[item.definition], strict=True):
            row = {**filler, **base, **same}
            if given:
                row |= _replaced(draft, given)
            if draft.exec_seq in item.keys:
                row["limit_key"] = item.keys[draft.exec_seq]
            rows.append(row)
    return rows


def edge_rows(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """The rows of kr_task_edge, all with the same columns."""
    bases = {item.definition: [row for draft in item.definition.drafts for row in draft.edge_rows] for item in wanted}
    filler = dict.fromkeys(columns_of(row for alike in bases.values() for row in alike))
    return [{**filler, **base, "task_flow_id": item.wish.flow_id} for item in wanted for base in bases[item.definition]]


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns that any of these rows gives a value, in a lasting order."""
    return sorted({name for row in rows for name in row})


def limit_keys_of(definition: Definition, given: Mapping[str, Any], of_flow: Mapping[str, Any]) -> dict[int, str]:
    """The limit keys of a flow's tasks, by run number. Errors: BadRequest for a parameter that they need and miss."""
    found: dict[int, str] = {}
    for draft in definition.drafts:
        if template := draft.options.get("limit_key"):
            later = {*_templates(draft, given), *(draft.step.mapped if draft.phase is None else ())}
            key = limit_keys.fill(template, {**of_flow, **_own(draft, given)}, later)
            found[draft.exec_seq] = limit_keys.checked(key, template)
    return found


@lru_cache(KEPT)
def _bases(definition: Definition) -> list[dict[str, Any]]:
    return [_base(definition.task_id, draft) for draft in definition.drafts]


def _base(task_id: str, draft: Draft) -> dict[str, Any]:
    extras = {"phase": draft.phase, "templates": _as_array(draft.templates)}
    return {
        "task_exec_seq": draft.exec_seq,
        "depends_task_exec_seq": draft.first_parent,
        "task_id": task_id,
        "task_seq": draft.step.task_seq,
        "exec_status": int(Status.WAIT),
        "task_priority": draft.step.priority,
        "parameters": as_json(draft.parameters),
        "program": draft.program,
        "wait_count": draft.awaits,
        **draft.options,
        **{name: value for name, value in extras.items() if value is not None},
    }


def _replaced(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a registration's parameters change in a row: those of its own names, which are no templates then."""
    if given.keys().isdisjoint(draft.parameters):
        return {}
    changed: dict[str, Any] = {"parameters": as_json(_own(draft, given))}
    if draft.templates:
        changed["templates"] = _as_array(_templates(draft, given))
    return changed


def _own(draft: Draft, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given.get(name, value) for name, value in draft.parameters.items()}


def _templates(draft: Draft, given: Mapping[str, Any]) -> list[str]:
    return [name for name in draft.templates if name not in given]


def _as_array(names: Collection[str]) -> str | None:
    return jsontext.dumps(list(names)) if names else None
