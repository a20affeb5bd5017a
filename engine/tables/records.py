"""The tables of what is and what was: events, and the watchers with their leases."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    String,
    Table,
    text,
)

from engine.dialects.types import Id, LongText, UtcTimestamp
from engine.tables.columns import BIGKEY, metadata

event = Table(
    "kr_event",
    metadata,
    Column("event_id", BIGKEY, primary_key=True, autoincrement=True),
    Column("event_ts", UtcTimestamp, nullable=False),
    Column("task_flow_id", Id(256)),
    Column("task_exec_seq", BigInteger),
    Column("what", String(64), nullable=False),
    Column("actor", Id(256)),
    Column("details", LongText),
    info={"about": "Something that happened, for people and subscribers."},
)

watcher = Table(
    "kr_watcher",
    metadata,
    Column("watcher_id", Id(64), primary_key=True, nullable=False),
    Column("label", Id(256)),
    Column("host", Id(256)),
    Column("pid", Integer),
    Column("queues", Id(1024)),
    Column("slots", Integer, nullable=False, server_default=text("0")),
    Column("state", String(16), nullable=False, server_default="running"),
    Column("started_ts", UtcTimestamp, nullable=False),
    Column("beat_ts", UtcTimestamp, nullable=False),
    Column("lease_until_ts", UtcTimestamp, nullable=False),
    Column("programs", LongText),
    Column("wanted", String(16)),
    info={"about": "A live watcher process and its lease."},
)
