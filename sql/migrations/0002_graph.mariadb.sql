-- Revision 0002 on mariadb: the graph. Edges with conditions, trigger rules, phases, waits, messages, limits.

ALTER TABLE kr_flow_stat ADD COLUMN reason VARCHAR(64);

ALTER TABLE kr_flow_stat ADD COLUMN failure_policy VARCHAR(16);

ALTER TABLE kr_flow_stat ADD COLUMN deadline_ts DATETIME(6);

ALTER TABLE kr_flow_stat ADD COLUMN parent_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_flow_stat ADD COLUMN parent_exec_seq BIGINT;

ALTER TABLE kr_flow_stat ADD COLUMN rerun_of VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_flow_stat ADD COLUMN closing SMALLINT;

ALTER TABLE kr_flow_stat ADD COLUMN result MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_attempt ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE kr_task_attempt ADD COLUMN result MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_edge ADD COLUMN kind VARCHAR(16);

ALTER TABLE kr_task_edge ADD COLUMN only_if MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_edge ADD COLUMN is_default BOOL;

ALTER TABLE kr_task_edge ADD COLUMN max_iterations INTEGER;

ALTER TABLE kr_task_edge ADD COLUMN outcome VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_task_stat ADD COLUMN trigger_rule VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN timeout_s DOUBLE;

ALTER TABLE kr_task_stat ADD COLUMN limit_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_task_stat ADD COLUMN input_mapping MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_stat ADD COLUMN output_mapping MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_stat ADD COLUMN phase VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN templates MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE kr_task_stat ADD COLUMN made_by_exec_seq BIGINT;

ALTER TABLE kr_task_stat ADD COLUMN iteration INTEGER NOT NULL DEFAULT 0;

ALTER TABLE kr_task_stat ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE kr_task_stat ADD COLUMN aged SMALLINT NOT NULL DEFAULT 0;

ALTER TABLE ms_task_edge ADD COLUMN kind VARCHAR(16);

ALTER TABLE ms_task_edge ADD COLUMN only_if MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_task_edge ADD COLUMN is_default BOOL;

ALTER TABLE ms_task_edge ADD COLUMN max_iterations INTEGER;

ALTER TABLE ms_task_option ADD COLUMN name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_task_option ADD COLUMN trigger_rule VARCHAR(16);

ALTER TABLE ms_task_option ADD COLUMN timeout_s DOUBLE;

ALTER TABLE ms_task_option ADD COLUMN limit_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_task_option ADD COLUMN input_mapping MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_task_option ADD COLUMN output_mapping MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_task_option ADD COLUMN pre_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_task_option ADD COLUMN pre_parameters MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_task_option ADD COLUMN post_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_task_option ADD COLUMN post_parameters MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_task_option ADD COLUMN rollback_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_task_option ADD COLUMN rollback_parameters MEDIUMTEXT CHARACTER SET utf8mb4;

CREATE INDEX ix_kr_flow_stat_active_of ON kr_flow_stat (task_id, flow_status);

CREATE INDEX ix_kr_flow_stat_child ON kr_flow_stat (parent_flow_id);

CREATE INDEX ix_kr_flow_stat_overseen ON kr_flow_stat (deadline_ts);

CREATE INDEX ix_kr_flow_stat_to_close ON kr_flow_stat (closing, flow_status);

-- When a limit by rate lets the next task start: a time, so that it cannot leak.
CREATE TABLE kr_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    free_at_ts DATETIME(6) NOT NULL,
    PRIMARY KEY (scope, name)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- A message: one without wait_id has come before anybody waited for it.
CREATE TABLE kr_message (
    message_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    correlation_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    payload MEDIUMTEXT CHARACTER SET utf8mb4,
    sent_ts DATETIME(6) NOT NULL,
    sent_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    expires_ts DATETIME(6),
    wait_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    PRIMARY KEY (message_id)
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_message_key ON kr_message (wait_id, name, correlation_key, sent_ts);

-- A timer, message, approval, form, callback, poke, flow or turn that a task waits for.
CREATE TABLE kr_wait (
    wait_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    correlation_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    state VARCHAR(16) NOT NULL DEFAULT 'open',
    details MEDIUMTEXT CHARACTER SET utf8mb4,
    payload MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6) NOT NULL,
    due_ts DATETIME(6),
    closed_ts DATETIME(6),
    closed_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    PRIMARY KEY (wait_id),
    CONSTRAINT ck_kr_wait_state CHECK (state IN ('open', 'arrived', 'expired', 'cancelled'))
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_wait_due_ts ON kr_wait (state, due_ts);

CREATE INDEX ix_kr_wait_key ON kr_wait (state, kind, name, correlation_key, created_ts);

CREATE INDEX ix_kr_wait_task ON kr_wait (task_flow_id, task_exec_seq);

-- How many tasks of a workflow, a queue or a key may run at once, or start in a period.
CREATE TABLE ms_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    max_running INTEGER,
    rate INTEGER,
    rate_period_s DOUBLE NOT NULL DEFAULT 1,
    PRIMARY KEY (scope, name),
    CONSTRAINT ck_ms_limit_scope CHECK (scope IN ('workflow', 'queue', 'key')),
    CONSTRAINT ck_ms_limit_max_running CHECK (max_running >= 0),
    CONSTRAINT ck_ms_limit_rate CHECK (rate >= 1),
    CONSTRAINT ck_ms_limit_rate_period CHECK (rate_period_s > 0)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- The extras of a workflow. A workflow without a row here is as Flower has it.
CREATE TABLE ms_workflow (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    parameter_schema MEDIUMTEXT CHARACTER SET utf8mb4,
    flow_priority SMALLINT,
    failure_policy VARCHAR(16),
    timeout_s DOUBLE,
    max_active_flows INTEGER,
    on_limit VARCHAR(16),
    result_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (task_id),
    CONSTRAINT ck_ms_workflow_flow_priority CHECK (flow_priority >= -20 AND flow_priority < 20),
    CONSTRAINT ck_ms_workflow_failure_policy CHECK (failure_policy IN ('continue', 'stop', 'rollback')),
    CONSTRAINT ck_ms_workflow_timeout CHECK (timeout_s > 0),
    CONSTRAINT ck_ms_workflow_max_active_flows CHECK (max_active_flows >= 1),
    CONSTRAINT ck_ms_workflow_on_limit CHECK (on_limit IN ('queue', 'refuse', 'cancel oldest'))
) ENGINE=InnoDB CHARSET=utf8mb4;
