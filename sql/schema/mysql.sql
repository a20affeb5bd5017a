-- Penstock's tables on mysql, revision 0007. Written from engine/tables by `make schema`.

-- A request of an operator, and what became of it. One that was inserted waits for a watcher.
CREATE TABLE kr_command (
    command_id BIGINT NOT NULL AUTO_INCREMENT,
    verb VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    subject VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    arguments MEDIUMTEXT CHARACTER SET utf8mb4,
    reason MEDIUMTEXT CHARACTER SET utf8mb4,
    asked_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    asked_ts DATETIME(6),
    door VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'sql',
    address VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    handled_ts DATETIME(6),
    handled_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    outcome VARCHAR(16),
    answer MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (command_id),
    CONSTRAINT ck_kr_command_outcome CHECK (outcome IN ('done', 'refused'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_command_open ON kr_command (handled_ts, command_id);

CREATE INDEX ix_kr_command_subject ON kr_command (subject, command_id);

-- Something that happened, for people and subscribers.
CREATE TABLE kr_event (
    event_id BIGINT NOT NULL AUTO_INCREMENT,
    event_ts DATETIME(6) NOT NULL,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    task_exec_seq BIGINT,
    what VARCHAR(64) NOT NULL,
    actor VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    details MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (event_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_event_flow ON kr_event (task_flow_id, event_id);

-- A flow: one run of a workflow.
CREATE TABLE kr_flow_stat (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    flow_status SMALLINT NOT NULL DEFAULT 0,
    flow_priority SMALLINT,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    run_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    request_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    task_count INTEGER NOT NULL DEFAULT 0,
    finish_count INTEGER NOT NULL DEFAULT 0,
    ignore_count INTEGER NOT NULL DEFAULT 0,
    suspend_count INTEGER NOT NULL DEFAULT 0,
    registered_ts DATETIME(6),
    started_ts DATETIME(6),
    finished_ts DATETIME(6),
    version_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    reason VARCHAR(64),
    failure_policy VARCHAR(16),
    deadline_ts DATETIME(6),
    parent_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    parent_exec_seq BIGINT,
    rerun_of VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    closing SMALLINT,
    result MEDIUMTEXT CHARACTER SET utf8mb4,
    registered_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    PRIMARY KEY (task_flow_id),
    CONSTRAINT uq_kr_flow_stat_idempotency UNIQUE (task_id, idempotency_key)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_flow_stat_active_of ON kr_flow_stat (task_id, flow_status);

CREATE INDEX ix_kr_flow_stat_by_status ON kr_flow_stat (flow_status, registered_ts, task_flow_id);

CREATE INDEX ix_kr_flow_stat_child ON kr_flow_stat (parent_flow_id);

CREATE INDEX ix_kr_flow_stat_finished ON kr_flow_stat (finished_ts);

CREATE INDEX ix_kr_flow_stat_newest ON kr_flow_stat (registered_ts, task_flow_id);

CREATE INDEX ix_kr_flow_stat_overseen ON kr_flow_stat (deadline_ts);

CREATE INDEX ix_kr_flow_stat_run_key ON kr_flow_stat (run_key, registered_ts);

CREATE INDEX ix_kr_flow_stat_to_close ON kr_flow_stat (closing, flow_status);

CREATE INDEX ix_kr_flow_stat_workflow ON kr_flow_stat (task_id, registered_ts, task_flow_id);

-- How many flows of a workflow began and ended in one minute, written when the minute is over.
CREATE TABLE kr_flow_summary (
    minute_ts DATETIME(6) NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    registered INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    ignored INTEGER NOT NULL DEFAULT 0,
    took_s DOUBLE,
    longest_s DOUBLE,
    PRIMARY KEY (minute_ts, task_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A tag that a flow was given when it was registered.
CREATE TABLE kr_flow_tag (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    tag VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    PRIMARY KEY (task_flow_id, tag)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_flow_tag_tagged ON kr_flow_tag (tag, task_flow_id);

-- When a limit by rate lets the next task start: a time, so that it cannot leak.
CREATE TABLE kr_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    free_at_ts DATETIME(6) NOT NULL,
    PRIMARY KEY (scope, name)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A message: one without wait_id has come before anybody waited for it.
CREATE TABLE kr_message (
    message_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    correlation_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    payload MEDIUMTEXT CHARACTER SET utf8mb4,
    sent_ts DATETIME(6) NOT NULL,
    sent_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    expires_ts DATETIME(6),
    wait_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    PRIMARY KEY (message_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_message_key ON kr_message (wait_id, name, correlation_key, sent_ts);

-- A try that did not simply finish, that logged something, or that a re-run has made history.
CREATE TABLE kr_task_attempt (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    claim_no INTEGER NOT NULL,
    watcher_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    outcome VARCHAR(16) NOT NULL,
    accepted BOOL NOT NULL DEFAULT false,
    claimed_ts DATETIME(6),
    ended_ts DATETIME(6),
    lease_until_ts DATETIME(6),
    error MEDIUMTEXT CHARACTER SET utf8mb4,
    traceback MEDIUMTEXT CHARACTER SET utf8mb4,
    log MEDIUMTEXT CHARACTER SET utf8mb4,
    generation INTEGER NOT NULL DEFAULT 0,
    result MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (task_flow_id, task_exec_seq, claim_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- Second and further predecessors of a task instance, and whatever an edge has beyond its two ends; a plain first predecessor stands in depends_task_exec_seq alone.
CREATE TABLE kr_task_edge (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if MEDIUMTEXT CHARACTER SET utf8mb4,
    is_default BOOL,
    max_iterations INTEGER,
    outcome VARCHAR(16),
    PRIMARY KEY (task_flow_id, task_exec_seq, depends_task_exec_seq)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_task_edge_after ON kr_task_edge (task_flow_id, depends_task_exec_seq);

-- What a try that still runs has logged so far, in parts.
CREATE TABLE kr_task_log (
    log_id BIGINT NOT NULL AUTO_INCREMENT,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    written_ts DATETIME(6) NOT NULL,
    text MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (log_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_task_log_task ON kr_task_log (task_flow_id, task_exec_seq, log_id);

-- A task instance. The first twelve columns are Flower's, in Flower's order.
CREATE TABLE kr_task_stat (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL DEFAULT (-1),
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    exec_status SMALLINT NOT NULL DEFAULT 0,
    task_priority SMALLINT NOT NULL DEFAULT 0,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    registered_ts DATETIME(6),
    started_ts DATETIME(6),
    finished_ts DATETIME(6),
    suspended_ts DATETIME(6),
    program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    queue VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL DEFAULT 'default',
    wait_count INTEGER,
    reason VARCHAR(64),
    due_ts DATETIME(6),
    claims INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    owner VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    result MEDIUMTEXT CHARACTER SET utf8mb4,
    error MEDIUMTEXT CHARACTER SET utf8mb4,
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE,
    limit_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    input_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    output_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    phase VARCHAR(16),
    templates MEDIUMTEXT CHARACTER SET utf8mb4,
    made_by_exec_seq BIGINT,
    iteration INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    aged SMALLINT NOT NULL DEFAULT 0,
    executor VARCHAR(16),
    is_exclusive BOOL,
    PRIMARY KEY (task_flow_id, task_exec_seq),
    CONSTRAINT ck_kr_task_stat_priority CHECK (task_priority >= -20 AND task_priority < 20),
    CONSTRAINT ck_kr_task_stat_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_kr_task_stat_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_kr_task_stat_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1),
    CONSTRAINT ck_kr_task_stat_status CHECK (exec_status IN (0, 1, 2, 3, 9))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_task_stat_behind ON kr_task_stat (depends_task_exec_seq, task_flow_id);

CREATE INDEX ix_kr_task_stat_due_ts ON kr_task_stat (due_ts);

CREATE INDEX ix_kr_task_stat_state ON kr_task_stat (exec_status, wait_count, queue, task_priority, registered_ts, task_flow_id, task_exec_seq);

-- A timer, message, approval, form, callback, poke, flow or turn that a task waits for.
CREATE TABLE kr_wait (
    wait_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    correlation_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    state VARCHAR(16) NOT NULL DEFAULT 'open',
    details MEDIUMTEXT CHARACTER SET utf8mb4,
    payload MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6) NOT NULL,
    due_ts DATETIME(6),
    closed_ts DATETIME(6),
    closed_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    PRIMARY KEY (wait_id),
    CONSTRAINT ck_kr_wait_state CHECK (state IN ('open', 'arrived', 'expired', 'cancelled'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_wait_due_ts ON kr_wait (state, due_ts);

CREATE INDEX ix_kr_wait_key ON kr_wait (state, kind, name, correlation_key, created_ts);

CREATE INDEX ix_kr_wait_task ON kr_wait (task_flow_id, task_exec_seq);

-- A live watcher process and its lease.
CREATE TABLE kr_watcher (
    watcher_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    label VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    host VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    pid INTEGER,
    queues VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    slots INTEGER NOT NULL DEFAULT 0,
    state VARCHAR(16) NOT NULL DEFAULT 'running',
    started_ts DATETIME(6) NOT NULL,
    beat_ts DATETIME(6) NOT NULL,
    lease_until_ts DATETIME(6) NOT NULL,
    programs MEDIUMTEXT CHARACTER SET utf8mb4,
    wanted VARCHAR(16),
    PRIMARY KEY (watcher_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- How many tasks of a workflow, a queue or a key may run at once or start in a period; or a pause.
CREATE TABLE ms_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    max_running INTEGER,
    rate INTEGER,
    rate_period_s DOUBLE NOT NULL DEFAULT 1,
    paused_ts DATETIME(6),
    paused_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    paused_reason MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (scope, name),
    CONSTRAINT ck_ms_limit_scope CHECK (scope IN ('workflow', 'queue', 'key')),
    CONSTRAINT ck_ms_limit_max_running CHECK (max_running >= 0),
    CONSTRAINT ck_ms_limit_rate CHECK (rate >= 1),
    CONSTRAINT ck_ms_limit_rate_period CHECK (rate_period_s > 0)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A person who logs in elsewhere (OpenID Connect), and what that person may do here.
CREATE TABLE ms_principal (
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    `role` VARCHAR(16) NOT NULL,
    workflows MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6),
    disabled_ts DATETIME(6),
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A step of a workflow: rows that share a task_id are one workflow.
CREATE TABLE ms_task_definition (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_priority SMALLINT NOT NULL DEFAULT 0,
    param1_key VARCHAR(1024),
    param1_value VARCHAR(1024),
    param2_key VARCHAR(1024),
    param2_value VARCHAR(1024),
    param3_key VARCHAR(1024),
    param3_value VARCHAR(1024),
    param4_key VARCHAR(1024),
    param4_value VARCHAR(1024),
    param5_key VARCHAR(1024),
    param5_value VARCHAR(1024),
    PRIMARY KEY (task_id, task_seq),
    CONSTRAINT ck_ms_task_definition_priority CHECK (task_priority >= -20 AND task_priority < 20)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- This step after that step. A workflow without a row here is a chain by task_seq.
CREATE TABLE ms_task_edge (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    depends_task_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if MEDIUMTEXT CHARACTER SET utf8mb4,
    is_default BOOL,
    max_iterations INTEGER,
    PRIMARY KEY (task_id, task_seq, depends_task_seq)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- The extras of a step. A step without a row here is as Flower has it.
CREATE TABLE ms_task_option (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    queue VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE,
    limit_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    input_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    output_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    pre_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    pre_parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    post_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    post_parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    rollback_program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    rollback_parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    executor VARCHAR(16),
    is_exclusive BOOL,
    PRIMARY KEY (task_id, task_seq),
    CONSTRAINT ck_ms_task_option_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_ms_task_option_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_ms_task_option_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- Who may ask for what over HTTP: the hash of a token or of a browser's session, never itself.
CREATE TABLE ms_token (
    token_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    kind VARCHAR(16) NOT NULL DEFAULT 'api',
    token_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    `role` VARCHAR(16) NOT NULL,
    workflows MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6) NOT NULL,
    created_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    expires_ts DATETIME(6),
    revoked_ts DATETIME(6),
    revoked_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    used_ts DATETIME(6),
    parent_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    principal VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    PRIMARY KEY (token_id),
    CONSTRAINT uq_ms_token_hash UNIQUE (token_hash),
    CONSTRAINT ck_ms_token_kind CHECK (kind IN ('api', 'session')),
    CONSTRAINT ck_ms_token_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- The extras of a workflow. A workflow without a row here is as Flower has it.
CREATE TABLE ms_workflow (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    parameter_schema MEDIUMTEXT CHARACTER SET utf8mb4,
    flow_priority SMALLINT,
    failure_policy VARCHAR(16),
    timeout_s DOUBLE,
    max_active_flows INTEGER,
    on_limit VARCHAR(16),
    result_mapping MEDIUMTEXT CHARACTER SET utf8mb4,
    retention_s DOUBLE,
    description MEDIUMTEXT CHARACTER SET utf8mb4,
    owner VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    tags MEDIUMTEXT CHARACTER SET utf8mb4,
    source MEDIUMTEXT CHARACTER SET utf8mb4,
    source_format VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    changed_ts DATETIME(6),
    changed_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
    PRIMARY KEY (task_id),
    CONSTRAINT ck_ms_workflow_flow_priority CHECK (flow_priority >= -20 AND flow_priority < 20),
    CONSTRAINT ck_ms_workflow_failure_policy CHECK (failure_policy IN ('continue', 'stop', 'rollback')),
    CONSTRAINT ck_ms_workflow_timeout CHECK (timeout_s > 0),
    CONSTRAINT ck_ms_workflow_max_active_flows CHECK (max_active_flows >= 1),
    CONSTRAINT ck_ms_workflow_on_limit CHECK (on_limit IN ('queue', 'refuse', 'cancel oldest'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A definition as it was when a flow was made from it, under the hash of its content.
CREATE TABLE ms_workflow_version (
    version_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
    definition MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    created_ts DATETIME(6) NOT NULL,
    PRIMARY KEY (version_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_ms_workflow_version_newest ON ms_workflow_version (task_id, created_ts);
