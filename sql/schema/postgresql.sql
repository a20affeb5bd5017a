-- Penstock's tables on postgresql, revision 0007. Written from engine/tables by `make schema`.

-- A request of an operator, and what became of it. One that was inserted waits for a watcher.
CREATE TABLE kr_command (
    command_id BIGSERIAL NOT NULL,
    verb VARCHAR(64) COLLATE "C" NOT NULL,
    subject VARCHAR(256) COLLATE "C",
    arguments TEXT,
    reason TEXT,
    asked_by VARCHAR(256) COLLATE "C",
    asked_ts TIMESTAMP WITH TIME ZONE,
    door VARCHAR(16) COLLATE "C" DEFAULT 'sql' NOT NULL,
    address VARCHAR(64) COLLATE "C",
    request_id VARCHAR(64) COLLATE "C",
    handled_ts TIMESTAMP WITH TIME ZONE,
    handled_by VARCHAR(64) COLLATE "C",
    outcome VARCHAR(16),
    answer TEXT,
    PRIMARY KEY (command_id),
    CONSTRAINT ck_kr_command_outcome CHECK (outcome IN ('done', 'refused'))
);

CREATE INDEX ix_kr_command_asked ON kr_command (command_id) WHERE handled_ts IS NULL;

CREATE INDEX ix_kr_command_subject ON kr_command (subject, command_id);

-- Something that happened, for people and subscribers.
CREATE TABLE kr_event (
    event_id BIGSERIAL NOT NULL,
    event_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    task_flow_id VARCHAR(256) COLLATE "C",
    task_exec_seq BIGINT,
    what VARCHAR(64) NOT NULL,
    actor VARCHAR(256) COLLATE "C",
    details TEXT,
    PRIMARY KEY (event_id)
);

CREATE INDEX ix_kr_event_flow ON kr_event (task_flow_id, event_id);

-- A flow: one run of a workflow.
CREATE TABLE kr_flow_stat (
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    flow_status SMALLINT DEFAULT 0 NOT NULL,
    flow_priority SMALLINT,
    parameters TEXT,
    run_key VARCHAR(256) COLLATE "C",
    idempotency_key VARCHAR(255) COLLATE "C",
    request_hash VARCHAR(64) COLLATE "C",
    task_count INTEGER DEFAULT 0 NOT NULL,
    finish_count INTEGER DEFAULT 0 NOT NULL,
    ignore_count INTEGER DEFAULT 0 NOT NULL,
    suspend_count INTEGER DEFAULT 0 NOT NULL,
    registered_ts TIMESTAMP WITH TIME ZONE,
    started_ts TIMESTAMP WITH TIME ZONE,
    finished_ts TIMESTAMP WITH TIME ZONE,
    version_id VARCHAR(64) COLLATE "C",
    reason VARCHAR(64),
    failure_policy VARCHAR(16),
    deadline_ts TIMESTAMP WITH TIME ZONE,
    parent_flow_id VARCHAR(256) COLLATE "C",
    parent_exec_seq BIGINT,
    rerun_of VARCHAR(256) COLLATE "C",
    closing SMALLINT,
    result TEXT,
    registered_by VARCHAR(256) COLLATE "C",
    PRIMARY KEY (task_flow_id),
    CONSTRAINT uq_kr_flow_stat_idempotency UNIQUE (task_id, idempotency_key)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX ix_kr_flow_stat_active ON kr_flow_stat (task_id, registered_ts) WHERE flow_status IN (0, 1, 2);

CREATE INDEX ix_kr_flow_stat_closing ON kr_flow_stat (flow_status) WHERE flow_status IN (3, 9) AND closing = 1;

CREATE INDEX ix_kr_flow_stat_deadline ON kr_flow_stat (deadline_ts) WHERE flow_status IN (0, 1, 2) AND deadline_ts IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_ended ON kr_flow_stat (finished_ts) WHERE finished_ts IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_keyed ON kr_flow_stat (run_key, registered_ts) WHERE run_key IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_listed ON kr_flow_stat (flow_status, registered_ts, task_flow_id) WHERE registered_ts IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_newest ON kr_flow_stat (registered_ts, task_flow_id);

CREATE INDEX ix_kr_flow_stat_parent ON kr_flow_stat (parent_flow_id) WHERE parent_flow_id IS NOT NULL;

CREATE INDEX ix_kr_flow_stat_suspended ON kr_flow_stat (task_flow_id) WHERE flow_status = 2;

CREATE INDEX ix_kr_flow_stat_workflow ON kr_flow_stat (task_id, registered_ts, task_flow_id);

-- How many flows of a workflow began and ended in one minute, written when the minute is over.
CREATE TABLE kr_flow_summary (
    minute_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    registered INTEGER DEFAULT 0 NOT NULL,
    finished INTEGER DEFAULT 0 NOT NULL,
    ignored INTEGER DEFAULT 0 NOT NULL,
    took_s DOUBLE PRECISION,
    longest_s DOUBLE PRECISION,
    PRIMARY KEY (minute_ts, task_id)
);

-- A tag that a flow was given when it was registered.
CREATE TABLE kr_flow_tag (
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    tag VARCHAR(255) COLLATE "C" NOT NULL,
    PRIMARY KEY (task_flow_id, tag)
);

CREATE INDEX ix_kr_flow_tag_tagged ON kr_flow_tag (tag, task_flow_id);

-- When a limit by rate lets the next task start: a time, so that it cannot leak.
CREATE TABLE kr_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    free_at_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (scope, name)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 500
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
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX ix_kr_message_read ON kr_message (wait_id) WHERE wait_id IS NOT NULL;

CREATE INDEX ix_kr_message_unread ON kr_message (name, correlation_key, sent_ts) WHERE wait_id IS NULL;

-- A try that did not simply finish, that logged something, or that a re-run has made history.
CREATE TABLE kr_task_attempt (
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) COLLATE "C" NOT NULL,
    claim_no INTEGER NOT NULL,
    watcher_id VARCHAR(64) COLLATE "C",
    outcome VARCHAR(16) NOT NULL,
    accepted BOOLEAN DEFAULT false NOT NULL,
    claimed_ts TIMESTAMP WITH TIME ZONE,
    ended_ts TIMESTAMP WITH TIME ZONE,
    lease_until_ts TIMESTAMP WITH TIME ZONE,
    error TEXT,
    traceback TEXT,
    log TEXT,
    generation INTEGER DEFAULT 0 NOT NULL,
    result TEXT,
    PRIMARY KEY (task_flow_id, task_exec_seq, claim_id)
);

-- Second and further predecessors of a task instance, and whatever an edge has beyond its two ends; a plain first predecessor stands in depends_task_exec_seq alone.
CREATE TABLE kr_task_edge (
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if TEXT,
    is_default BOOLEAN,
    max_iterations INTEGER,
    outcome VARCHAR(16),
    PRIMARY KEY (task_flow_id, task_exec_seq, depends_task_exec_seq)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX ix_kr_task_edge_after ON kr_task_edge (task_flow_id, depends_task_exec_seq);

-- What a try that still runs has logged so far, in parts.
CREATE TABLE kr_task_log (
    log_id BIGSERIAL NOT NULL,
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) COLLATE "C" NOT NULL,
    written_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (log_id)
);

CREATE INDEX ix_kr_task_log_task ON kr_task_log (task_flow_id, task_exec_seq, log_id);

-- A task instance. The first twelve columns are Flower's, in Flower's order.
CREATE TABLE kr_task_stat (
    task_flow_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT DEFAULT -1 NOT NULL,
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_seq BIGINT NOT NULL,
    exec_status SMALLINT DEFAULT 0 NOT NULL,
    task_priority SMALLINT DEFAULT 0 NOT NULL,
    parameters TEXT NOT NULL,
    registered_ts TIMESTAMP WITH TIME ZONE,
    started_ts TIMESTAMP WITH TIME ZONE,
    finished_ts TIMESTAMP WITH TIME ZONE,
    suspended_ts TIMESTAMP WITH TIME ZONE,
    program VARCHAR(256) COLLATE "C",
    queue VARCHAR(64) COLLATE "C" DEFAULT 'default' NOT NULL,
    wait_count INTEGER,
    reason VARCHAR(64),
    due_ts TIMESTAMP WITH TIME ZONE,
    claims INTEGER DEFAULT 0 NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    losses INTEGER DEFAULT 0 NOT NULL,
    owner VARCHAR(64) COLLATE "C",
    claim_id VARCHAR(36) COLLATE "C",
    result TEXT,
    error TEXT,
    max_attempts INTEGER,
    retry_delay_s DOUBLE PRECISION,
    retry_backoff DOUBLE PRECISION,
    retry_max_delay_s DOUBLE PRECISION,
    retry_jitter DOUBLE PRECISION,
    name VARCHAR(128) COLLATE "C",
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE PRECISION,
    limit_key VARCHAR(256) COLLATE "C",
    input_mapping TEXT,
    output_mapping TEXT,
    phase VARCHAR(16),
    templates TEXT,
    made_by_exec_seq BIGINT,
    iteration INTEGER DEFAULT 0 NOT NULL,
    generation INTEGER DEFAULT 0 NOT NULL,
    aged SMALLINT DEFAULT 0 NOT NULL,
    executor VARCHAR(16),
    is_exclusive BOOLEAN,
    PRIMARY KEY (task_flow_id, task_exec_seq),
    CONSTRAINT ck_kr_task_stat_priority CHECK (task_priority >= -20 AND task_priority < 20),
    CONSTRAINT ck_kr_task_stat_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_kr_task_stat_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_kr_task_stat_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1),
    CONSTRAINT ck_kr_task_stat_status CHECK (exec_status IN (0, 1, 2, 3, 9))
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX ix_kr_task_stat_behind ON kr_task_stat (depends_task_exec_seq, task_flow_id);

CREATE INDEX ix_kr_task_stat_due ON kr_task_stat (due_ts) WHERE due_ts IS NOT NULL;

CREATE INDEX ix_kr_task_stat_hand ON kr_task_stat (task_flow_id, task_exec_seq) WHERE exec_status = 0 AND (wait_count IS NULL OR wait_count < 0);

CREATE INDEX ix_kr_task_stat_ready ON kr_task_stat (queue, task_priority, registered_ts, task_flow_id, task_exec_seq) WHERE exec_status = 0 AND wait_count = 0;

CREATE INDEX ix_kr_task_stat_running ON kr_task_stat (owner) WHERE exec_status = 1;

CREATE INDEX ix_kr_task_stat_set_back ON kr_task_stat (task_flow_id, task_exec_seq) WHERE exec_status = 0 AND wait_count >= 0 AND suspended_ts IS NOT NULL;

CREATE INDEX ix_kr_task_stat_suspended ON kr_task_stat (reason, suspended_ts) WHERE exec_status = 2;

CREATE INDEX ix_kr_task_stat_untold ON kr_task_stat (task_flow_id, task_exec_seq) WHERE exec_status IN (3, 9) AND (wait_count IS NULL OR wait_count >= 0);

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
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX ix_kr_wait_due ON kr_wait (due_ts) WHERE state = 'open' AND due_ts IS NOT NULL;

CREATE INDEX ix_kr_wait_open ON kr_wait (kind, name, correlation_key, created_ts) WHERE state = 'open';

CREATE INDEX ix_kr_wait_task ON kr_wait (task_flow_id, task_exec_seq);

-- A live watcher process and its lease.
CREATE TABLE kr_watcher (
    watcher_id VARCHAR(64) COLLATE "C" NOT NULL,
    label VARCHAR(256) COLLATE "C",
    host VARCHAR(256) COLLATE "C",
    pid INTEGER,
    queues VARCHAR(1024) COLLATE "C",
    slots INTEGER DEFAULT 0 NOT NULL,
    state VARCHAR(16) DEFAULT 'running' NOT NULL,
    started_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    beat_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    lease_until_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    programs TEXT,
    wanted VARCHAR(16),
    PRIMARY KEY (watcher_id)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 500
);

-- How many tasks of a workflow, a queue or a key may run at once or start in a period; or a pause.
CREATE TABLE ms_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    max_running INTEGER,
    rate INTEGER,
    rate_period_s DOUBLE PRECISION DEFAULT 1 NOT NULL,
    paused_ts TIMESTAMP WITH TIME ZONE,
    paused_by VARCHAR(256) COLLATE "C",
    paused_reason TEXT,
    PRIMARY KEY (scope, name),
    CONSTRAINT ck_ms_limit_scope CHECK (scope IN ('workflow', 'queue', 'key')),
    CONSTRAINT ck_ms_limit_max_running CHECK (max_running >= 0),
    CONSTRAINT ck_ms_limit_rate CHECK (rate >= 1),
    CONSTRAINT ck_ms_limit_rate_period CHECK (rate_period_s > 0)
);

-- A person who logs in elsewhere (OpenID Connect), and what that person may do here.
CREATE TABLE ms_principal (
    name VARCHAR(256) COLLATE "C" NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TIMESTAMP WITH TIME ZONE,
    disabled_ts TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
);

-- A step of a workflow: rows that share a task_id are one workflow.
CREATE TABLE ms_task_definition (
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_seq BIGINT NOT NULL,
    program VARCHAR(256) COLLATE "C" NOT NULL,
    task_priority SMALLINT DEFAULT 0 NOT NULL,
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
);

-- This step after that step. A workflow without a row here is a chain by task_seq.
CREATE TABLE ms_task_edge (
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_seq BIGINT NOT NULL,
    depends_task_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if TEXT,
    is_default BOOLEAN,
    max_iterations INTEGER,
    PRIMARY KEY (task_id, task_seq, depends_task_seq)
);

-- The extras of a step. A step without a row here is as Flower has it.
CREATE TABLE ms_task_option (
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    task_seq BIGINT NOT NULL,
    parameters TEXT,
    queue VARCHAR(64) COLLATE "C",
    max_attempts INTEGER,
    retry_delay_s DOUBLE PRECISION,
    retry_backoff DOUBLE PRECISION,
    retry_max_delay_s DOUBLE PRECISION,
    retry_jitter DOUBLE PRECISION,
    name VARCHAR(128) COLLATE "C",
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE PRECISION,
    limit_key VARCHAR(256) COLLATE "C",
    input_mapping TEXT,
    output_mapping TEXT,
    pre_program VARCHAR(256) COLLATE "C",
    pre_parameters TEXT,
    post_program VARCHAR(256) COLLATE "C",
    post_parameters TEXT,
    rollback_program VARCHAR(256) COLLATE "C",
    rollback_parameters TEXT,
    executor VARCHAR(16),
    is_exclusive BOOLEAN,
    PRIMARY KEY (task_id, task_seq),
    CONSTRAINT ck_ms_task_option_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_ms_task_option_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_ms_task_option_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1)
);

-- Who may ask for what over HTTP: the hash of a token or of a browser's session, never itself.
CREATE TABLE ms_token (
    token_id VARCHAR(36) COLLATE "C" NOT NULL,
    name VARCHAR(256) COLLATE "C" NOT NULL,
    kind VARCHAR(16) DEFAULT 'api' NOT NULL,
    token_hash VARCHAR(64) COLLATE "C" NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by VARCHAR(256) COLLATE "C",
    expires_ts TIMESTAMP WITH TIME ZONE,
    revoked_ts TIMESTAMP WITH TIME ZONE,
    revoked_by VARCHAR(256) COLLATE "C",
    used_ts TIMESTAMP WITH TIME ZONE,
    parent_id VARCHAR(36) COLLATE "C",
    principal VARCHAR(256) COLLATE "C",
    PRIMARY KEY (token_id),
    CONSTRAINT uq_ms_token_hash UNIQUE (token_hash),
    CONSTRAINT ck_ms_token_kind CHECK (kind IN ('api', 'session')),
    CONSTRAINT ck_ms_token_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
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
    retention_s DOUBLE PRECISION,
    description TEXT,
    owner VARCHAR(256) COLLATE "C",
    tags TEXT,
    source TEXT,
    source_format VARCHAR(16) COLLATE "C",
    changed_ts TIMESTAMP WITH TIME ZONE,
    changed_by VARCHAR(256) COLLATE "C",
    PRIMARY KEY (task_id),
    CONSTRAINT ck_ms_workflow_flow_priority CHECK (flow_priority >= -20 AND flow_priority < 20),
    CONSTRAINT ck_ms_workflow_failure_policy CHECK (failure_policy IN ('continue', 'stop', 'rollback')),
    CONSTRAINT ck_ms_workflow_timeout CHECK (timeout_s > 0),
    CONSTRAINT ck_ms_workflow_max_active_flows CHECK (max_active_flows >= 1),
    CONSTRAINT ck_ms_workflow_on_limit CHECK (on_limit IN ('queue', 'refuse', 'cancel oldest'))
);

-- A definition as it was when a flow was made from it, under the hash of its content.
CREATE TABLE ms_workflow_version (
    version_id VARCHAR(64) COLLATE "C" NOT NULL,
    task_id VARCHAR(256) COLLATE "C" NOT NULL,
    definition TEXT NOT NULL,
    created_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (version_id)
);

CREATE INDEX ix_ms_workflow_version_newest ON ms_workflow_version (task_id, created_ts);
