"""The rows that a registration copies a definition into: task instances and their edges, for many flows at once.

What is the same in every flow of a workflow is worked out once per definition. Columns that no row of a batch has a
value for are left to the database's defaults, so that plain workflows do not pay for what they do not use.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine import jsontext
from engine.definition import limit_keys, product
from engine.definition.product import Like, columns_of
from engine.definition.reading import KEPT, as_json
from engine.definition.step import Definition, Draft
from engine.states import Status
from engine.tables import run_edge, task_stat

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


def task_rows(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """The rows of kr_task_stat, all with the same columns, but for the time of their registration."""
    rows: list[dict[str, Any]] = []
    for item in wanted:
        same: dict[str, Any] = {"task_flow_id": item.wish.flow_id}
        if item.priority is not None:
            same["task_priority"] = item.priority
        given = item.wish.parameters or {}
        for draft, base in zip(item.definition.drafts, bases(item.definition), strict=True):
            row = {**base, **same}
            if given:
                row |= _replaced(draft, given)
            if draft.exec_seq in item.keys:
                row["limit_key"] = item.keys[draft.exec_seq]
            rows.append(row)
    return _filled(rows)


def edge_rows(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """The rows of kr_task_edge, all with the same columns."""
    rows = [{**base, "task_flow_id": item.wish.flow_id} for item in wanted for base in edge_bases(item.definition)]
    return _filled(rows)


def alike(wanted: Sequence[Wanted]) -> tuple[dict[Definition, list[Like]], list[Wanted]]:
    """Those whose rows are their definition's as they are, by definition, where there are enough of them; and the
    others."""
    groups: dict[Definition, list[Wanted]] = {}
    others: list[Wanted] = []
    for item in wanted:
        is_plain = not item.keys and _named(item.definition).isdisjoint(item.wish.parameters or ())
        (groups.setdefault(item.definition, []) if is_plain else others).append(item)
    found: dict[Definition, list[Like]] = {}
    for definition, items in groups.items():
        if len(items) * len(definition.drafts) >= product.LEAST_ROWS and _travels(definition):
            found[definition] = [Like(item.wish.flow_id, item.priority) for item in items]
        else:
            others += items
    return found, others


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
def bases(definition: Definition) -> list[dict[str, Any]]:
    """The rows of kr_task_stat that every flow of a definition begins with, without what is the flow's own."""
    return _filled([_base(definition.task_id, draft) for draft in definition.drafts])


@lru_cache(KEPT)
def edge_bases(definition: Definition) -> list[dict[str, Any]]:
    """The same of kr_task_edge."""
    return _filled([row for draft in definition.drafts for row in draft.edge_rows])


def _filled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, all with the same columns."""
    filler = {name: _FILLERS.get(name) for name in columns_of(rows)}
    return [{**filler, **row} for row in rows]


@lru_cache(KEPT)
def _travels(definition: Definition) -> bool:
    tables = (task_stat, bases(definition)), (run_edge, edge_bases(definition))
    return all(product.travel(table, rows, product.differing(rows)) for table, rows in tables if rows)


@lru_cache(KEPT)
def _named(definition: Definition) -> frozenset[str]:
    """The parameters that its steps have, which a registration's replace."""
    return frozenset(name for draft in definition.drafts for name in draft.parameters)


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
