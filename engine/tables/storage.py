"""How the servers keep the tables: row formats, room for new versions of rows, and when dead ones are cleared away."""

from __future__ import annotations

from typing import Any, Final

from engine.tables.columns import metadata
from engine.tables.records import watcher
from engine.tables.runs import flow_stat, run_edge, task_stat
from engine.tables.waits import limit_stat, message, wait

_BUSY: Final = {
    # of the updates of flows, four in ten find room on their own page and change no index then, instead of one in ten
    "fillfactor": 80,
    # of ten million rows a fifth would be two million dead ones, which every claim would step over in the index
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 5_000,
    "autovacuum_vacuum_insert_scale_factor": 0.05,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_analyze_threshold": 5_000,
}
_SMALL: Final = {
    # few rows that are written for ever: heartbeats, and the times of limits by rate
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 500,
}
_OF_POSTGRESQL: Final[dict[Any, dict[str, Any]]] = {
    **dict.fromkeys((flow_stat, task_stat, run_edge, wait, message), _BUSY),
    **dict.fromkeys((watcher, limit_stat), _SMALL),
}

for _table in metadata.tables.values():
    for _flavour in ("mysql", "mariadb"):
        _options = _table.dialect_options[_flavour]
        _options["engine"], _options["charset"] = "InnoDB", "utf8mb4"
        _options["row_format"] = "DYNAMIC"  # the others have no room for an index of two long ids
    if _table in _OF_POSTGRESQL:
        _table.dialect_options["postgresql"]["with"] = _OF_POSTGRESQL[_table]
