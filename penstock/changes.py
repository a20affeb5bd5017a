"""What a command changed, in words: `max_running: 10 -> 20`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NOTHING = "none"


def said(changes: Any) -> str:
    """One line; empty for what was refused, changed nothing, or was recorded by an older version."""
    if not isinstance(changes, dict) or not changes.keys() >= {"before", "after"}:
        return ""
    before, after = changes["before"], changes["after"]
    if before is None:
        return f"made: {_listed(after)}" if after else ""
    if after is None:
        return f"gone: {_listed(before)}"
    return "; ".join(_column(name, before, after) for name in {**before, **after})


def _column(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if name not in before:
        return f"{name}: {_value(after[name])}"
    old = _value(before[name])
    return f"{name}: {old} -> {_value(after[name])}" if name in after else f"{name}: {old} -> gone"


def _listed(side: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in side.items())


def _value(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value:
        return ", ".join(f"{name} {_value(item)}" for name, item in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(_group(group) for group in value)
    return json.dumps(value, ensure_ascii=False)


def _group(group: Mapping[str, Any]) -> str:
    """Some tasks: `1-3 WAIT`."""
    if "seqs" not in group:
        return f"{group.get('more')} more"
    return " ".join([str(group["seqs"]), *(_value(value) for name, value in group.items() if name != "seqs")])
