"""Two definitions compared, as data: steps added, taken away and changed, field by field; edges; the rest.

Compared is what decides how flows are made, in the words of documents. Steps are matched by their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.documents.rows import RETRY
from engine.documents.shape import OF_PEOPLE, Document

Fields = dict[str, Any]
_NAMES: Final = {"task_priority": "priority", **{column: f"retry.{name}" for name, column in RETRY.items()}}
_AS_JSON: Final = ("input_mapping", "output_mapping")
_EDGES: Final = ("after", "edges", "task_seq")


def compare(older: str, newer: str, said: tuple[Document, Document] | None = None) -> dict[str, Any]:
    """What changes from one definition, as versions hold it (`Definition.content`), to another.

    `said`: both as documents, to compare also what is for people. Shape: `steps` {added, removed, changed}, `edges` the
    same, `workflow` {name: {from, to}}; each list by number, and `is_same`.
    """
    one, other = json.loads(older), json.loads(newer)
    steps = _compared(_steps(one), _steps(other), lambda seq: {"seq": seq})
    edges = _compared(_edges(one), _edges(other), lambda ends: {"before": ends[0], "after": ends[1]})
    extras = _changes(_extras(one, said and said[0]), _extras(other, said and said[1]))
    return {
        "is_same": not (extras or any(steps.values()) or any(edges.values())),
        "steps": steps,
        "edges": edges,
        "workflow": extras,
    }


def _compared(one: Mapping[Any, Fields], other: Mapping[Any, Fields], key: Any) -> dict[str, list[dict[str, Any]]]:
    return {
        "added": [{**key(it), **other[it]} for it in sorted(other.keys() - one.keys())],
        "removed": [{**key(it), **one[it]} for it in sorted(one.keys() - other.keys())],
        "changed": [
            {**key(it), **_named(other[it]), "fields": changes}
            for it in sorted(one.keys() & other.keys())
            if (changes := _changes(one[it], other[it]))
        ],
    }


def _named(step: Fields) -> Fields:
    return {"name": step["name"]} if step.get("name") else {}


def _changes(one: Fields, other: Fields) -> dict[str, dict[str, Any]]:
    """Field by field, and of objects name by name; what one side does not say is null there."""
    names = [*one, *(name for name in other if name not in one)]
    return {
        name: {"from": one.get(name), "to": other.get(name)}
        for name in names
        if not _same(one.get(name), other.get(name))
    }


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1 and True are two


def _steps(content: Mapping[str, Any]) -> dict[int, Fields]:
    return {step["task_seq"]: dict(_fields(step)) for step in content["steps"]}


def _fields(step: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in step.items():
        if name in _EDGES or (name == "task_priority" and value == 0):
            continue
        if name.endswith("parameters"):
            prefix = name if name == "parameters" else name.replace("_", ".")
            yield from ((f"{prefix}.{key}", inner) for key, inner in value.items())
        elif name in _AS_JSON:
            yield from ((f"{name}.{key}", inner) for key, inner in json.loads(value).items())
        else:
            yield _NAMES.get(name, name.replace("_program", ".program")), value


def _edges(content: Mapping[str, Any]) -> dict[tuple[int, int], Fields]:
    found: dict[tuple[int, int], Fields] = {}
    for step in content["steps"]:
        found |= {(before, step["task_seq"]): {} for before in step["after"]}
        for edge in step.get("edges", ()):
            found[edge["after"], step["task_seq"]] = {name: it for name, it in edge.items() if name != "after"}
    return found


def _extras(content: Mapping[str, Any], said: Document | None) -> Fields:
    found = dict(content.get("workflow", {}))
    if said is not None:
        document = said.as_json()
        found |= {name: document[name] for name in OF_PEOPLE if name in document}
    return found
