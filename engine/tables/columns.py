"""What tables share: the one collection that they belong to, columns, and checks."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Double, Integer, MetaData, String

from engine.dialects.types import Id, LongText

metadata: Final = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_label)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
)
BIGKEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER PRIMARY KEY


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


def option_columns() -> list[Column[Any]]:
    """What a definition may say of a step and its run rows copy, beside retries; NULL is Flower's way."""
    return [
        Column("name", Id(128)),
        Column("trigger_rule", String(16)),
        Column("timeout_s", Double),
        Column("limit_key", Id(256)),
        Column("input_mapping", LongText),
        Column("output_mapping", LongText),
    ]


def execution_columns() -> list[Column[Any]]:
    """Where a step's program runs; NULL leaves it to the program."""
    return [
        Column("executor", String(16)),
        Column("is_exclusive", Boolean),
    ]
