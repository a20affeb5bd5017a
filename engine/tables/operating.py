"""The tables of the operating surface: what was asked for, by whom, who may ask, and what people look for."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Integer, String, Table, UniqueConstraint, text

from engine.dialects.types import Id, LongText, UtcTimestamp
from engine.tables.columns import BIGKEY, metadata, texts

command = Table(
    "kr_command",
    metadata,
    Column("command_id", BIGKEY, primary_key=True, autoincrement=True),
    Column("verb", Id(64), nullable=False),
    Column("subject", Id(256)),
    Column("arguments", LongText),
    Column("reason", LongText),
    Column("asked_by", Id(256)),
    Column("asked_ts", UtcTimestamp),
    Column("door", Id(16), nullable=False, server_default="sql"),
    Column("address", Id(64)),
    Column("request_id", Id(64)),
    Column("handled_ts", UtcTimestamp),
    Column("handled_by", Id(64)),
    Column("outcome", String(16)),
    Column("answer", LongText),
    Column("changes", LongText),
    CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),
    *texts("verb", "subject", "arguments", "reason", "asked_by"),
    info={"about": "A request of an operator, and what became of it. One that was inserted waits for a watcher."},
)

token = Table(
    "ms_token",
    metadata,
    Column("token_id", Id(36), primary_key=True, nullable=False),
    Column("name", Id(256), nullable=False),
    Column("kind", String(16), nullable=False, server_default="api"),
    Column("token_hash", Id(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("workflows", LongText),
    Column("created_ts", UtcTimestamp, nullable=False),
    Column("created_by", Id(256)),
    Column("expires_ts", UtcTimestamp),
    Column("revoked_ts", UtcTimestamp),
    Column("revoked_by", Id(256)),
    Column("used_ts", UtcTimestamp),
    Column("parent_id", Id(36)),
    Column("principal", Id(256)),
    UniqueConstraint("token_hash", name="uq_ms_token_hash"),
    CheckConstraint("kind IN ('api', 'session')", name="kind"),
    CheckConstraint("role IN ('viewer', 'worker', 'operator', 'author', 'admin')", name="known_role"),
    info={"about": "Who may ask for what over HTTP: the hash of a token or of a browser's session, never itself."},
)

principal = Table(
    "ms_principal",
    metadata,
    Column("name", Id(256), primary_key=True, nullable=False),
    Column("role", String(16), nullable=False),
    Column("workflows", LongText),
    Column("created_ts", UtcTimestamp),
    Column("disabled_ts", UtcTimestamp),
    CheckConstraint("role IN ('viewer', 'worker', 'operator', 'author', 'admin')", name="known_role"),
    info={"about": "A person who logs in elsewhere (OpenID Connect), and what that person may do here."},
)

flow_tag = Table(
    "kr_flow_tag",
    metadata,
    Column("task_flow_id", Id(256), primary_key=True, nullable=False),
    Column("tag", Id(255), primary_key=True, nullable=False),
    *texts("task_flow_id", "tag"),
    info={"about": "A tag that a flow was given when it was registered."},
)

flow_summary = Table(
    "kr_flow_summary",
    metadata,
    Column("minute_ts", UtcTimestamp, primary_key=True, nullable=False),
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("registered", Integer, nullable=False, server_default=text("0")),
    Column("finished", Integer, nullable=False, server_default=text("0")),
    Column("ignored", Integer, nullable=False, server_default=text("0")),
    Column("took_s", Double),
    Column("longest_s", Double),
    info={"about": "How many flows of a workflow began and ended in one minute, written when the minute is over."},
)

task_log = Table(
    "kr_task_log",
    metadata,
    Column("log_id", BIGKEY, primary_key=True, autoincrement=True),
    Column("task_flow_id", Id(256), nullable=False),
    Column("task_exec_seq", BigInteger, nullable=False),
    Column("claim_id", Id(36), nullable=False),
    Column("written_ts", UtcTimestamp, nullable=False),
    Column("text", LongText, nullable=False),
    info={"about": "What a try that still runs has logged so far, in parts."},
)
