-- Revision 0002 on postgresql: the graph. Edges with conditions, trigger rules, phases, waits, messages, limits.

ALTER TABLE kr_flow_stat ADD COLUMN reason VARCHAR(64);

ALTER TABLE kr_flow_stat ADD COLUMN failure_policy VARCHAR(16);

ALTER TABLE kr_flow_stat ADD COLUMN deadline_ts TIMESTAMP WITH TIME ZONE;

ALTER TABLE kr_flow_stat ADD COLUMN parent_flow_id VARCHAR(256) COLLATE "C";

ALTER TABLE kr_flow_stat ADD COLUMN parent_exec_seq BIGINT;

ALTER TABLE kr_flow_stat ADD COLUMN rerun_of VARCHAR(256) COLLATE "C";

ALTER TABLE kr_flow_stat ADD COLUMN closing SMALLINT;

ALTER TABLE kr_flow_stat ADD COLUMN result TEXT;

ALTER TABLE kr_task_attempt ADD COLUMN generation INTEGER DEFAULT 0 NOT NULL;

ALTER TABLE kr_task_attempt ADD COLUMN result TEXT;

ALTER TABLE kr_task_edge ADD COLUMN kind VARCHAR(16);

ALTER TABLE kr_task_edge ADD COLUMN only_if TEXT;

ALTER TABLE kr_task_edge ADD COLUMN is_default BOOLEAN;

ALTER TABLE kr_task_edge ADD COLUMN max_iterations INTEGER;

ALTER TABLE kr_task_edge ADD COLUMN outcome VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN name VARCHAR(128) COLLATE "C";

ALTER TABLE kr_task_stat ADD COLUMN trigger_rule VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN timeout_s DOUBLE PRECISION;

ALTER TABLE kr_task_stat ADD COLUMN limit_key VARCHAR(256) COLLATE "C";

ALTER TABLE kr_task_stat ADD COLUMN input_mapping TEXT;

ALTER TABLE kr_task_stat ADD COLUMN output_mapping TEXT;

ALTER TABLE kr_task_stat ADD COLUMN phase VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN templates TEXT;

ALTER TABLE kr_task_stat ADD COLUMN made_by_exec_seq BIGINT;

ALTER TABLE kr_task_stat ADD COLUMN iteration INTEGER DEFAULT 0 NOT NULL;

ALTER TABLE kr_task_stat ADD COLUMN generation INTEGER DEFAULT 0 NOT NULL;

ALTER TABLE kr_task_stat ADD COLUMN aged SMALLINT DEFAULT 0 NOT NULL;

ALTER TABLE ms_task_edge ADD COLUMN kind VARCHAR(16);

ALTER TABLE ms_task_edge ADD COLUMN only_if TEXT;

ALTER TABLE ms_task_edge ADD COLUMN is_default BOOLEAN;

ALTER TABLE ms_task_edge ADD COLUMN max_iterations INTEGER;

ALTER TABLE ms_task_option ADD COLUMN name VARCHAR(128) COLLATE "C";

ALTER TABLE ms_task_option ADD COLUMN trigger_rule VARCHAR(16);

ALTER TABLE ms_task_option ADD COLUMN timeout_s DOUBLE PRECISION;

ALTER TABLE ms_task_option ADD COLUMN limit_key VARCHAR(256) COLLATE "C";

ALTER TABLE ms_task_option ADD COLUMN input_mapping TEXT;

ALTER TABLE ms_task_option ADD COLUMN output_mapping TEXT;

ALTER TABLE ms_task_option ADD COLUMN pre_program VARCHAR(256) COLLATE "C";

ALTER TABLE ms_task_option ADD COLUMN pre_parameters TEXT;

ALTER TABLE ms_task_option ADD COLUMN post_program VARCHAR(256) COLLATE "C";

ALTER TABLE ms_task_option ADD COLUMN post_parameters TEXT;

ALTER TABLE ms_task_option ADD COLUMN rollback_program VARCHAR(256) COLLATE "C";

ALTER TABLE ms_task_option ADD COLUMN rollback_parameters TEXT;

CREATE INDEX ix_kr_flow_stat_active ON kr_flow_stat (task_id, registered_ts) WHERE flow_status IN (0, 1, 2);

CREATE INDEX ix_kr_flow_stat_closing ON kr_flow_stat (flow_status) WHERE flow_status IN (3, 9) AND closing = 1;

CREATE INDEX ix_kr_flow_stat_deadline ON kr_flow_stat (deadline_ts) WHERE flow_status IN (0, 1, 2) AND deadline_ts IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_parent ON kr_flow_stat (parent_flow_id) WHERE parent_flow_id IS NOT NULL;

-- When a limit by rate lets the next task start: a time, so that it cannot leak.
CREATE TABLE kr_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    free_at_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (scope, name)
);

-- A message: one without wait_id has come before anybody waited for it.
CREATE TABLE kr_message (
    message_id VARCHAR(36) COLLATE "C" NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    correlation_key VARCHAR(256) COLLATE "C" NOT NULL,
    payload TEXT,
    sent_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_by VARCHAR(256) COLLATE "C",
    expires_ts TIMESTAMP WITH TIME ZONE,
    wait_id VARCHAR(36) COLLATE "C",
    PRIMARY KEY (message_id)
);

CREATE INDEX ix_kr_message_unread ON kr_message (name, correlation_key, sent_ts) WHERE wait_id IS NULL;

-- A timer, message, approval, form, callback, poke, flow or turn that a task waits for.
CREATE TABLE kr_wait (
    wait_id VARCHAR(36) COLLATE "C" NOT NULL,
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(256) COLLATE "C",
    correlation_key VARCHAR(256) COLLATE "C",
    state VARCHAR(16) DEFAULT 'open' NOT NULL,
    details TEXT,
    payload TEXT,
    created_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    due_ts TIMESTAMP WITH TIME ZONE,
    closed_ts TIMESTAMP WITH TIME ZONE,
    closed_by VARCHAR(256) COLLATE "C",
    PRIMARY KEY (wait_id),
    CONSTRAINT ck_kr_wait_state CHECK (state IN ('open', 'arrived', 'expired', 'cancelled'))
);

CREATE INDEX ix_kr_wait_due ON kr_wait (due_ts) WHERE state = 'open' AND due_ts IS NOT NULL;

CREATE INDEX ix_kr_wait_open ON kr_wait (kind, name, correlation_key, created_ts) WHERE state = 'open';

CREATE INDEX ix_kr_wait_task ON kr_wait (task_flow_id, task_exec_seq);

-- How many tasks of a workflow, a queue or a key may run at once, or start in a period.
CREATE TABLE ms_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    max_running INTEGER,
    rate INTEGER,
    rate_period_s DOUBLE PRECISION DEFAULT 1 NOT NULL,
    PRIMARY KEY (scope, name),
    CONSTRAINT ck_ms_limit_scope CHECK (scope IN ('workflow', 'queue', 'key')),
    CONSTRAINT ck_ms_limit_max_running CHECK (max_running >= 0),
    CONSTRAINT ck_ms_limit_rate CHECK (rate >= 1),
    CONSTRAINT ck_ms_limit_rate_period CHECK (rate_period_s > 0)
);

-- The extras of a workflow. A workflow without a row here is as Flower has it.
CREATE TABLE ms_workflow (
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    parameters TEXT,
    parameter_schema TEXT,
    flow_priority SMALLINT,
    failure_policy VARCHAR(16),
    timeout_s DOUBLE PRECISION,
    max_active_flows INTEGER,
    on_limit VARCHAR(16),
    result_mapping TEXT,
    PRIMARY KEY (task_id),
    CONSTRAINT ck_ms_workflow_flow_priority CHECK (flow_priority >= -20 AND flow_priority < 20),
    CONSTRAINT ck_ms_workflow_failure_policy CHECK (failure_policy IN ('continue', 'stop', 'rollback')),
    CONSTRAINT ck_ms_workflow_timeout CHECK (timeout_s > 0),
    CONSTRAINT ck_ms_workflow_max_active_flows CHECK (max_active_flows >= 1),
    CONSTRAINT ck_ms_workflow_on_limit CHECK (on_limit IN ('queue', 'refuse', 'cancel oldest'))
);
