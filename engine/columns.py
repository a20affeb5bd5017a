"""Columns and checks that several tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Double, Integer


def whole(*columns: str) -> list[CheckConstraint]:
    """SQLite alone would store 'abc' or 1.5 in an integer column; the others refuse or round on the way in."""
    return [
        CheckConstraint(f"typeof({name}) IN ('integer', 'null')", name=f"{name}_whole").ddl_if(dialect="sqlite")
        for name in columns
    ]


def texts(*columns: str) -> list[CheckConstraint]:
    """SQLite alone would store a number, a blob or a NUL where an id belongs."""
    return [
        CheckConstraint(
            f"typeof({name}) = 'null' OR (typeof({name}) = 'text' AND instr({name}, char(0)) = 0)", name=f"{name}_text"
        ).ddl_if(dialect="sqlite")
        for name in columns
    ]


def priority_check() -> CheckConstraint:
    return CheckConstraint("task_priority >= -20 AND task_priority < 20", name="priority")


def retry_columns() -> list[Column[Any]]:
    """How often, and after which delays; NULL is the default of engine/retry.py."""
    return [
        Column("max_attempts", Integer),
        Column("retry_delay_s", Double),
        Column("retry_backoff", Double),
        Column("retry_max_delay_s", Double),
        Column("retry_jitter", Double),
    ]


def retry_checks() -> list[CheckConstraint]:
    return [
        CheckConstraint("max_attempts >= 1", name="max_attempts"),
        CheckConstraint("retry_delay_s >= 0", name="retry_delay"),
        CheckConstraint("retry_backoff >= 1", name="retry_backoff"),
        CheckConstraint("retry_max_delay_s >= 0", name="retry_max_delay"),
        CheckConstraint("retry_jitter >= 0 AND retry_jitter <= 1", name="retry_jitter"),
    ]
