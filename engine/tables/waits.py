"""The tables of what holds tasks back: waits, messages, and limits by rate."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    String,
    Table,
)

from engine.dialects.types import Id, LongText, UtcTimestamp
from engine.tables.columns import metadata, texts, whole

wait = Table(
    "kr_wait",
    metadata,
    Column("wait_id", Id(36), primary_key=True, nullable=False),
    Column("task_flow_id", Id(256), nullable=False),
    Column("task_exec_seq", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", Id(256)),
    Column("correlation_key", Id(256)),
    Column("state", String(16), nullable=False, server_default="open"),
    Column("details", LongText),
    Column("payload", LongText),
    Column("created_ts", UtcTimestamp, nullable=False),
    Column("due_ts", UtcTimestamp),
    Column("closed_ts", UtcTimestamp),
    Column("closed_by", Id(256)),
    CheckConstraint("state IN ('open', 'arrived', 'expired', 'cancelled')", name="state"),
    *whole("task_exec_seq"),
    *texts("task_flow_id", "name", "correlation_key", "payload"),
    info={"about": "A timer, message, approval, form, callback, poke, flow or turn that a task waits for."},
)

message = Table(
    "kr_message",
    metadata,
    Column("message_id", Id(36), primary_key=True, nullable=False),
    Column("name", Id(256), nullable=False),
    Column("correlation_key", Id(256), nullable=False),
    Column("payload", LongText),
    Column("sent_ts", UtcTimestamp, nullable=False),
    Column("sent_by", Id(256)),
    Column("expires_ts", UtcTimestamp),
    Column("wait_id", Id(36)),
    *texts("name", "correlation_key", "payload"),
    info={"about": "A message: one without wait_id has come before anybody waited for it."},
)

limit_stat = Table(
    "kr_limit",
    metadata,
    Column("scope", String(16), primary_key=True, nullable=False),
    Column("name", Id(256), primary_key=True, nullable=False),
    Column("free_at_ts", UtcTimestamp, nullable=False),
    info={"about": "When a limit by rate lets the next task start: a time, so that it cannot leak."},
)
