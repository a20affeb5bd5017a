"""The tables of definitions (`ms_`): steps, edges, their extras, versions, and limits."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    SmallInteger,
    String,
    Table,
    text,
)

from engine.dialects.types import Id, LongText, UtcTimestamp
from engine.tables.columns import (
    execution_columns,
    metadata,
    option_columns,
    priority_check,
    retry_checks,
    retry_columns,
    texts,
    whole,
)

task_definition = Table(
    "ms_task_definition",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("program", Id(256), nullable=False),
    Column("task_priority", SmallInteger, nullable=False, server_default=text("0")),
    *(
        Column(f"param{number}_{part}", String(1024))  # Flower's five pairs: param1_key, param1_value ...
        for number in range(1, 6)
        for part in ("key", "value")
    ),
    priority_check(),
    *whole("task_seq", "task_priority"),
    *texts("task_id", "program"),
    info={"about": "A step of a workflow: rows that share a task_id are one workflow."},
)

task_edge = Table(
    "ms_task_edge",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("depends_task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("kind", String(16)),
    Column("only_if", LongText),
    Column("is_default", Boolean),
    Column("max_iterations", Integer),
    *whole("task_seq", "depends_task_seq"),
    *texts("task_id"),
    info={"about": "This step after that step. A workflow without a row here is a chain by task_seq."},
)

task_option = Table(
    "ms_task_option",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("parameters", LongText),
    Column("queue", Id(64)),
    *retry_columns(),
    *option_columns(),
    *(
        column  # the phases around a step, and what undoes it
        for phase in ("pre", "post", "rollback")
        for column in (Column(f"{phase}_program", Id(256)), Column(f"{phase}_parameters", LongText))
    ),
    *execution_columns(),
    *retry_checks(),
    *whole("task_seq", "max_attempts"),
    *texts("task_id", "parameters", "queue"),
    info={"about": "The extras of a step. A step without a row here is as Flower has it."},
)

workflow = Table(
    "ms_workflow",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("parameters", LongText),
    Column("parameter_schema", LongText),
    Column("flow_priority", SmallInteger),
    Column("failure_policy", String(16)),
    Column("timeout_s", Double),
    Column("max_active_flows", Integer),
    Column("on_limit", String(16)),
    Column("result_mapping", LongText),
    Column("retention_s", Double),
    *(
        Column(name, kind, info={"descriptive": True})  # for people: no flow is made otherwise because of it
        for name, kind in (
            ("description", LongText()),
            ("owner", Id(256)),
            ("tags", LongText()),
            ("source", LongText()),
            ("source_format", Id(16)),
            ("changed_ts", UtcTimestamp()),
            ("changed_by", Id(256)),
        )
    ),
    CheckConstraint("flow_priority >= -20 AND flow_priority < 20", name="flow_priority"),
    CheckConstraint("failure_policy IN ('continue', 'stop', 'rollback')", name="failure_policy"),
    CheckConstraint("timeout_s > 0", name="timeout"),
    CheckConstraint("max_active_flows >= 1", name="max_active_flows"),
    CheckConstraint("on_limit IN ('queue', 'refuse', 'cancel oldest')", name="on_limit"),
    *whole("flow_priority", "max_active_flows"),
    *texts("task_id", "parameters", "parameter_schema", "result_mapping"),
    info={"about": "The extras of a workflow. A workflow without a row here is as Flower has it."},
)

limit = Table(
    "ms_limit",
    metadata,
    Column("scope", String(16), primary_key=True, nullable=False),
    Column("name", Id(256), primary_key=True, nullable=False),
    Column("max_running", Integer),
    Column("rate", Integer),
    Column("rate_period_s", Double, nullable=False, server_default=text("1")),
    Column("paused_ts", UtcTimestamp),
    Column("paused_by", Id(256)),
    Column("paused_reason", LongText),
    CheckConstraint("scope IN ('workflow', 'queue', 'key')", name="scope"),
    CheckConstraint("max_running >= 0", name="max_running"),
    CheckConstraint("rate >= 1", name="rate"),
    CheckConstraint("rate_period_s > 0", name="rate_period"),
    *whole("max_running", "rate"),
    *texts("name"),
    info={"about": "How many tasks of a workflow, a queue or a key may run at once or start in a period; or a pause."},
)

workflow_version = Table(
    "ms_workflow_version",
    metadata,
    Column("version_id", Id(64), primary_key=True, nullable=False),
    Column("task_id", Id(256), nullable=False),
    Column("definition", LongText, nullable=False),
    Column("created_ts", UtcTimestamp, nullable=False),
    info={"about": "A definition as it was when a flow was made from it, under the hash of its content."},
)
