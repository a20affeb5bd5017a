-- Penstock's tables and views on sqlite, revision 0008. Made of engine/tables and sql/views by `make schema`.

-- A request of an operator, and what became of it. One that was inserted waits for a watcher.
CREATE TABLE kr_command (
    command_id INTEGER NOT NULL,
    verb VARCHAR(64) NOT NULL,
    subject VARCHAR(256),
    arguments TEXT,
    reason TEXT,
    asked_by VARCHAR(256),
    asked_ts TEXT,
    door VARCHAR(16) DEFAULT 'sql' NOT NULL,
    address VARCHAR(64),
    request_id VARCHAR(64),
    handled_ts TEXT,
    handled_by VARCHAR(64),
    outcome VARCHAR(16),
    answer TEXT,
    changes TEXT,
    PRIMARY KEY (command_id),
    CONSTRAINT ck_kr_command_outcome CHECK (outcome IN ('done', 'refused')),
    CONSTRAINT ck_kr_command_verb_text CHECK (typeof(verb) = 'null' OR (typeof(verb) = 'text' AND instr(verb, char(0)) = 0)),
    CONSTRAINT ck_kr_command_subject_text CHECK (typeof(subject) = 'null' OR (typeof(subject) = 'text' AND instr(subject, char(0)) = 0)),
    CONSTRAINT ck_kr_command_arguments_text CHECK (typeof(arguments) = 'null' OR (typeof(arguments) = 'text' AND instr(arguments, char(0)) = 0)),
    CONSTRAINT ck_kr_command_reason_text CHECK (typeof(reason) = 'null' OR (typeof(reason) = 'text' AND instr(reason, char(0)) = 0)),
    CONSTRAINT ck_kr_command_asked_by_text CHECK (typeof(asked_by) = 'null' OR (typeof(asked_by) = 'text' AND instr(asked_by, char(0)) = 0))
);

CREATE INDEX ix_kr_command_asked ON kr_command (command_id) WHERE handled_ts IS NULL;

CREATE INDEX ix_kr_command_subject ON kr_command (subject, command_id);

-- Something that happened, for people and subscribers.
CREATE TABLE kr_event (
    event_id INTEGER NOT NULL,
    event_ts TEXT NOT NULL,
    task_flow_id VARCHAR(256),
    task_exec_seq BIGINT,
    what VARCHAR(64) NOT NULL,
    actor VARCHAR(256),
    details TEXT,
    PRIMARY KEY (event_id)
);

CREATE INDEX ix_kr_event_flow ON kr_event (task_flow_id, event_id);

-- A flow: one run of a workflow.
CREATE TABLE kr_flow_stat (
    task_flow_id VARCHAR(256) NOT NULL,
    task_id VARCHAR(256) NOT NULL,
    flow_status SMALLINT DEFAULT 0 NOT NULL,
    flow_priority SMALLINT,
    parameters TEXT,
    run_key VARCHAR(256),
    idempotency_key VARCHAR(255),
    request_hash VARCHAR(64),
    task_count INTEGER DEFAULT 0 NOT NULL,
    finish_count INTEGER DEFAULT 0 NOT NULL,
    ignore_count INTEGER DEFAULT 0 NOT NULL,
    suspend_count INTEGER DEFAULT 0 NOT NULL,
    registered_ts TEXT,
    started_ts TEXT,
    finished_ts TEXT,
    version_id VARCHAR(64),
    reason VARCHAR(64),
    failure_policy VARCHAR(16),
    deadline_ts TEXT,
    parent_flow_id VARCHAR(256),
    parent_exec_seq BIGINT,
    rerun_of VARCHAR(256),
    closing SMALLINT,
    result TEXT,
    registered_by VARCHAR(256),
    PRIMARY KEY (task_flow_id),
    CONSTRAINT uq_kr_flow_stat_idempotency UNIQUE (task_id, idempotency_key)
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
    minute_ts TEXT NOT NULL,
    task_id VARCHAR(256) NOT NULL,
    registered INTEGER DEFAULT 0 NOT NULL,
    finished INTEGER DEFAULT 0 NOT NULL,
    ignored INTEGER DEFAULT 0 NOT NULL,
    took_s DOUBLE,
    longest_s DOUBLE,
    PRIMARY KEY (minute_ts, task_id)
);

-- A tag that a flow was given when it was registered.
CREATE TABLE kr_flow_tag (
    task_flow_id VARCHAR(256) NOT NULL,
    tag VARCHAR(255) NOT NULL,
    PRIMARY KEY (task_flow_id, tag),
    CONSTRAINT ck_kr_flow_tag_task_flow_id_text CHECK (typeof(task_flow_id) = 'null' OR (typeof(task_flow_id) = 'text' AND instr(task_flow_id, char(0)) = 0)),
    CONSTRAINT ck_kr_flow_tag_tag_text CHECK (typeof(tag) = 'null' OR (typeof(tag) = 'text' AND instr(tag, char(0)) = 0))
);

CREATE INDEX ix_kr_flow_tag_tagged ON kr_flow_tag (tag, task_flow_id);

-- When a limit by rate lets the next task start: a time, so that it cannot leak.
CREATE TABLE kr_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) NOT NULL,
    free_at_ts TEXT NOT NULL,
    PRIMARY KEY (scope, name)
);

-- A message: one without wait_id has come before anybody waited for it.
CREATE TABLE kr_message (
    message_id VARCHAR(36) NOT NULL,
    name VARCHAR(256) NOT NULL,
    correlation_key VARCHAR(256) NOT NULL,
    payload TEXT,
    sent_ts TEXT NOT NULL,
    sent_by VARCHAR(256),
    expires_ts TEXT,
    wait_id VARCHAR(36),
    PRIMARY KEY (message_id),
    CONSTRAINT ck_kr_message_name_text CHECK (typeof(name) = 'null' OR (typeof(name) = 'text' AND instr(name, char(0)) = 0)),
    CONSTRAINT ck_kr_message_correlation_key_text CHECK (typeof(correlation_key) = 'null' OR (typeof(correlation_key) = 'text' AND instr(correlation_key, char(0)) = 0)),
    CONSTRAINT ck_kr_message_payload_text CHECK (typeof(payload) = 'null' OR (typeof(payload) = 'text' AND instr(payload, char(0)) = 0))
);

CREATE INDEX ix_kr_message_read ON kr_message (wait_id) WHERE wait_id IS NOT NULL;

CREATE INDEX ix_kr_message_unread ON kr_message (name, correlation_key, sent_ts) WHERE wait_id IS NULL;

-- A try that did not simply finish, that logged something, or that a re-run has made history.
CREATE TABLE kr_task_attempt (
    task_flow_id VARCHAR(256) NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) NOT NULL,
    claim_no INTEGER NOT NULL,
    watcher_id VARCHAR(64),
    outcome VARCHAR(16) NOT NULL,
    accepted BOOLEAN DEFAULT 0 NOT NULL,
    claimed_ts TEXT,
    ended_ts TEXT,
    lease_until_ts TEXT,
    error TEXT,
    traceback TEXT,
    log TEXT,
    generation INTEGER DEFAULT 0 NOT NULL,
    result TEXT,
    PRIMARY KEY (task_flow_id, task_exec_seq, claim_id)
);

-- Second and further predecessors of a task instance, and whatever an edge has beyond its two ends; a plain first predecessor stands in depends_task_exec_seq alone.
CREATE TABLE kr_task_edge (
    task_flow_id VARCHAR(256) NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if TEXT,
    is_default BOOLEAN,
    max_iterations INTEGER,
    outcome VARCHAR(16),
    PRIMARY KEY (task_flow_id, task_exec_seq, depends_task_exec_seq),
    CONSTRAINT ck_kr_task_edge_task_exec_seq_whole CHECK (typeof(task_exec_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_edge_depends_task_exec_seq_whole CHECK (typeof(depends_task_exec_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_edge_task_flow_id_text CHECK (typeof(task_flow_id) = 'null' OR (typeof(task_flow_id) = 'text' AND instr(task_flow_id, char(0)) = 0))
);

CREATE INDEX ix_kr_task_edge_after ON kr_task_edge (task_flow_id, depends_task_exec_seq);

-- What a try that still runs has logged so far, in parts.
CREATE TABLE kr_task_log (
    log_id INTEGER NOT NULL,
    task_flow_id VARCHAR(256) NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) NOT NULL,
    written_ts TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (log_id)
);

CREATE INDEX ix_kr_task_log_task ON kr_task_log (task_flow_id, task_exec_seq, log_id);

-- A task instance. The first twelve columns are Flower's, in Flower's order.
CREATE TABLE kr_task_stat (
    task_flow_id VARCHAR(256) NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT DEFAULT (-1) NOT NULL,
    task_id VARCHAR(256) NOT NULL,
    task_seq BIGINT NOT NULL,
    exec_status SMALLINT DEFAULT 0 NOT NULL,
    task_priority SMALLINT DEFAULT 0 NOT NULL,
    parameters TEXT NOT NULL,
    registered_ts TEXT,
    started_ts TEXT,
    finished_ts TEXT,
    suspended_ts TEXT,
    program VARCHAR(256),
    queue VARCHAR(64) DEFAULT 'default' NOT NULL,
    wait_count INTEGER,
    reason VARCHAR(64),
    due_ts TEXT,
    claims INTEGER DEFAULT 0 NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    losses INTEGER DEFAULT 0 NOT NULL,
    owner VARCHAR(64),
    claim_id VARCHAR(36),
    result TEXT,
    error TEXT,
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    name VARCHAR(128),
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE,
    limit_key VARCHAR(256),
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
    CONSTRAINT ck_kr_task_stat_status CHECK (exec_status IN (0, 1, 2, 3, 9)),
    CONSTRAINT ck_kr_task_stat_task_exec_seq_whole CHECK (typeof(task_exec_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_depends_task_exec_seq_whole CHECK (typeof(depends_task_exec_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_task_seq_whole CHECK (typeof(task_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_exec_status_whole CHECK (typeof(exec_status) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_task_priority_whole CHECK (typeof(task_priority) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_wait_count_whole CHECK (typeof(wait_count) IN ('integer', 'null')),
    CONSTRAINT ck_kr_task_stat_task_flow_id_text CHECK (typeof(task_flow_id) = 'null' OR (typeof(task_flow_id) = 'text' AND instr(task_flow_id, char(0)) = 0)),
    CONSTRAINT ck_kr_task_stat_task_id_text CHECK (typeof(task_id) = 'null' OR (typeof(task_id) = 'text' AND instr(task_id, char(0)) = 0)),
    CONSTRAINT ck_kr_task_stat_parameters_text CHECK (typeof(parameters) = 'null' OR (typeof(parameters) = 'text' AND instr(parameters, char(0)) = 0)),
    CONSTRAINT ck_kr_task_stat_program_text CHECK (typeof(program) = 'null' OR (typeof(program) = 'text' AND instr(program, char(0)) = 0)),
    CONSTRAINT ck_kr_task_stat_queue_text CHECK (typeof(queue) = 'null' OR (typeof(queue) = 'text' AND instr(queue, char(0)) = 0))
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
    wait_id VARCHAR(36) NOT NULL,
    task_flow_id VARCHAR(256) NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(256),
    correlation_key VARCHAR(256),
    state VARCHAR(16) DEFAULT 'open' NOT NULL,
    details TEXT,
    payload TEXT,
    created_ts TEXT NOT NULL,
    due_ts TEXT,
    closed_ts TEXT,
    closed_by VARCHAR(256),
    PRIMARY KEY (wait_id),
    CONSTRAINT ck_kr_wait_state CHECK (state IN ('open', 'arrived', 'expired', 'cancelled')),
    CONSTRAINT ck_kr_wait_task_exec_seq_whole CHECK (typeof(task_exec_seq) IN ('integer', 'null')),
    CONSTRAINT ck_kr_wait_task_flow_id_text CHECK (typeof(task_flow_id) = 'null' OR (typeof(task_flow_id) = 'text' AND instr(task_flow_id, char(0)) = 0)),
    CONSTRAINT ck_kr_wait_name_text CHECK (typeof(name) = 'null' OR (typeof(name) = 'text' AND instr(name, char(0)) = 0)),
    CONSTRAINT ck_kr_wait_correlation_key_text CHECK (typeof(correlation_key) = 'null' OR (typeof(correlation_key) = 'text' AND instr(correlation_key, char(0)) = 0)),
    CONSTRAINT ck_kr_wait_payload_text CHECK (typeof(payload) = 'null' OR (typeof(payload) = 'text' AND instr(payload, char(0)) = 0))
);

CREATE INDEX ix_kr_wait_due ON kr_wait (due_ts) WHERE state = 'open' AND due_ts IS NOT NULL;

CREATE INDEX ix_kr_wait_open ON kr_wait (kind, name, correlation_key, created_ts) WHERE state = 'open';

CREATE INDEX ix_kr_wait_task ON kr_wait (task_flow_id, task_exec_seq);

-- A live watcher process and its lease.
CREATE TABLE kr_watcher (
    watcher_id VARCHAR(64) NOT NULL,
    label VARCHAR(256),
    host VARCHAR(256),
    pid INTEGER,
    queues VARCHAR(1024),
    slots INTEGER DEFAULT 0 NOT NULL,
    state VARCHAR(16) DEFAULT 'running' NOT NULL,
    started_ts TEXT NOT NULL,
    beat_ts TEXT NOT NULL,
    lease_until_ts TEXT NOT NULL,
    programs TEXT,
    wanted VARCHAR(16),
    PRIMARY KEY (watcher_id)
);

-- How many tasks of a workflow, a queue or a key may run at once or start in a period; or a pause.
CREATE TABLE ms_limit (
    scope VARCHAR(16) NOT NULL,
    name VARCHAR(256) NOT NULL,
    max_running INTEGER,
    rate INTEGER,
    rate_period_s DOUBLE DEFAULT 1 NOT NULL,
    paused_ts TEXT,
    paused_by VARCHAR(256),
    paused_reason TEXT,
    PRIMARY KEY (scope, name),
    CONSTRAINT ck_ms_limit_scope CHECK (scope IN ('workflow', 'queue', 'key')),
    CONSTRAINT ck_ms_limit_max_running CHECK (max_running >= 0),
    CONSTRAINT ck_ms_limit_rate CHECK (rate >= 1),
    CONSTRAINT ck_ms_limit_rate_period CHECK (rate_period_s > 0),
    CONSTRAINT ck_ms_limit_max_running_whole CHECK (typeof(max_running) IN ('integer', 'null')),
    CONSTRAINT ck_ms_limit_rate_whole CHECK (typeof(rate) IN ('integer', 'null')),
    CONSTRAINT ck_ms_limit_name_text CHECK (typeof(name) = 'null' OR (typeof(name) = 'text' AND instr(name, char(0)) = 0))
);

-- A person who logs in elsewhere (OpenID Connect), and what that person may do here.
CREATE TABLE ms_principal (
    name VARCHAR(256) NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TEXT,
    disabled_ts TEXT,
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_known_role CHECK (role IN ('viewer', 'worker', 'operator', 'author', 'admin'))
);

-- A step of a workflow: rows that share a task_id are one workflow.
CREATE TABLE ms_task_definition (
    task_id VARCHAR(256) NOT NULL,
    task_seq BIGINT NOT NULL,
    program VARCHAR(256) NOT NULL,
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
    CONSTRAINT ck_ms_task_definition_priority CHECK (task_priority >= -20 AND task_priority < 20),
    CONSTRAINT ck_ms_task_definition_task_seq_whole CHECK (typeof(task_seq) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_definition_task_priority_whole CHECK (typeof(task_priority) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_definition_task_id_text CHECK (typeof(task_id) = 'null' OR (typeof(task_id) = 'text' AND instr(task_id, char(0)) = 0)),
    CONSTRAINT ck_ms_task_definition_program_text CHECK (typeof(program) = 'null' OR (typeof(program) = 'text' AND instr(program, char(0)) = 0))
);

-- This step after that step. A workflow without a row here is a chain by task_seq.
CREATE TABLE ms_task_edge (
    task_id VARCHAR(256) NOT NULL,
    task_seq BIGINT NOT NULL,
    depends_task_seq BIGINT NOT NULL,
    kind VARCHAR(16),
    only_if TEXT,
    is_default BOOLEAN,
    max_iterations INTEGER,
    PRIMARY KEY (task_id, task_seq, depends_task_seq),
    CONSTRAINT ck_ms_task_edge_task_seq_whole CHECK (typeof(task_seq) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_edge_depends_task_seq_whole CHECK (typeof(depends_task_seq) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_edge_task_id_text CHECK (typeof(task_id) = 'null' OR (typeof(task_id) = 'text' AND instr(task_id, char(0)) = 0))
);

-- The extras of a step. A step without a row here is as Flower has it.
CREATE TABLE ms_task_option (
    task_id VARCHAR(256) NOT NULL,
    task_seq BIGINT NOT NULL,
    parameters TEXT,
    queue VARCHAR(64),
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    name VARCHAR(128),
    trigger_rule VARCHAR(16),
    timeout_s DOUBLE,
    limit_key VARCHAR(256),
    input_mapping TEXT,
    output_mapping TEXT,
    pre_program VARCHAR(256),
    pre_parameters TEXT,
    post_program VARCHAR(256),
    post_parameters TEXT,
    rollback_program VARCHAR(256),
    rollback_parameters TEXT,
    executor VARCHAR(16),
    is_exclusive BOOLEAN,
    PRIMARY KEY (task_id, task_seq),
    CONSTRAINT ck_ms_task_option_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_ms_task_option_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_ms_task_option_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1),
    CONSTRAINT ck_ms_task_option_task_seq_whole CHECK (typeof(task_seq) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_option_max_attempts_whole CHECK (typeof(max_attempts) IN ('integer', 'null')),
    CONSTRAINT ck_ms_task_option_task_id_text CHECK (typeof(task_id) = 'null' OR (typeof(task_id) = 'text' AND instr(task_id, char(0)) = 0)),
    CONSTRAINT ck_ms_task_option_parameters_text CHECK (typeof(parameters) = 'null' OR (typeof(parameters) = 'text' AND instr(parameters, char(0)) = 0)),
    CONSTRAINT ck_ms_task_option_queue_text CHECK (typeof(queue) = 'null' OR (typeof(queue) = 'text' AND instr(queue, char(0)) = 0))
);

-- Who may ask for what over HTTP: the hash of a token or of a browser's session, never itself.
CREATE TABLE ms_token (
    token_id VARCHAR(36) NOT NULL,
    name VARCHAR(256) NOT NULL,
    kind VARCHAR(16) DEFAULT 'api' NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TEXT NOT NULL,
    created_by VARCHAR(256),
    expires_ts TEXT,
    revoked_ts TEXT,
    revoked_by VARCHAR(256),
    used_ts TEXT,
    parent_id VARCHAR(36),
    principal VARCHAR(256),
    PRIMARY KEY (token_id),
    CONSTRAINT uq_ms_token_hash UNIQUE (token_hash),
    CONSTRAINT ck_ms_token_kind CHECK (kind IN ('api', 'session')),
    CONSTRAINT ck_ms_token_known_role CHECK (role IN ('viewer', 'worker', 'operator', 'author', 'admin'))
);

-- The extras of a workflow. A workflow without a row here is as Flower has it.
CREATE TABLE ms_workflow (
    task_id VARCHAR(256) NOT NULL,
    parameters TEXT,
    parameter_schema TEXT,
    flow_priority SMALLINT,
    failure_policy VARCHAR(16),
    timeout_s DOUBLE,
    max_active_flows INTEGER,
    on_limit VARCHAR(16),
    result_mapping TEXT,
    retention_s DOUBLE,
    description TEXT,
    owner VARCHAR(256),
    tags TEXT,
    source TEXT,
    source_format VARCHAR(16),
    changed_ts TEXT,
    changed_by VARCHAR(256),
    PRIMARY KEY (task_id),
    CONSTRAINT ck_ms_workflow_flow_priority CHECK (flow_priority >= -20 AND flow_priority < 20),
    CONSTRAINT ck_ms_workflow_failure_policy CHECK (failure_policy IN ('continue', 'stop', 'rollback')),
    CONSTRAINT ck_ms_workflow_timeout CHECK (timeout_s > 0),
    CONSTRAINT ck_ms_workflow_max_active_flows CHECK (max_active_flows >= 1),
    CONSTRAINT ck_ms_workflow_on_limit CHECK (on_limit IN ('queue', 'refuse', 'cancel oldest')),
    CONSTRAINT ck_ms_workflow_flow_priority_whole CHECK (typeof(flow_priority) IN ('integer', 'null')),
    CONSTRAINT ck_ms_workflow_max_active_flows_whole CHECK (typeof(max_active_flows) IN ('integer', 'null')),
    CONSTRAINT ck_ms_workflow_task_id_text CHECK (typeof(task_id) = 'null' OR (typeof(task_id) = 'text' AND instr(task_id, char(0)) = 0)),
    CONSTRAINT ck_ms_workflow_parameters_text CHECK (typeof(parameters) = 'null' OR (typeof(parameters) = 'text' AND instr(parameters, char(0)) = 0)),
    CONSTRAINT ck_ms_workflow_parameter_schema_text CHECK (typeof(parameter_schema) = 'null' OR (typeof(parameter_schema) = 'text' AND instr(parameter_schema, char(0)) = 0)),
    CONSTRAINT ck_ms_workflow_result_mapping_text CHECK (typeof(result_mapping) = 'null' OR (typeof(result_mapping) = 'text' AND instr(result_mapping, char(0)) = 0))
);

-- A definition as it was when a flow was made from it, under the hash of its content.
CREATE TABLE ms_workflow_version (
    version_id VARCHAR(64) NOT NULL,
    task_id VARCHAR(256) NOT NULL,
    definition TEXT NOT NULL,
    created_ts TEXT NOT NULL,
    PRIMARY KEY (version_id)
);

CREATE INDEX ix_ms_workflow_version_newest ON ms_workflow_version (task_id, created_ts);

-- The database's time as the tables write it, in UTC; and the furthest that a heartbeat may be ahead of it.
CREATE VIEW v_clock AS
SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' AS now_ts,
    strftime('%Y-%m-%d %H:%M:%f', 'now', '+2 seconds') || '000' AS ahead_ts;

-- What live watchers take: a row for each queue and program of one. A watcher that takes nothing more has none.
-- The lists are cut at their commas: SQLite lets no view ask whether a text is JSON where schemas are not trusted, and a
-- row that a person has touched must not fail the others.
CREATE VIEW v_offer AS
WITH RECURSIVE live(watcher_id, queues, programs) AS (
    SELECT w.watcher_id, w.queues, replace(w.programs, '", "', '","')
    FROM kr_watcher AS w
    WHERE w.state = 'running'
        AND w.wanted IS NULL
        AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
        AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
),
queues(watcher_id, queue, rest) AS (
    SELECT watcher_id, NULL, queues || ','
    FROM live
    UNION ALL
    SELECT watcher_id, substr(rest, 1, instr(rest, ',') - 1), substr(rest, instr(rest, ',') + 1)
    FROM queues
    WHERE rest <> ''
),
programs(watcher_id, program, rest) AS (
    SELECT watcher_id, NULL, substr(programs, 3, length(programs) - 4) || '","'
    FROM live
    WHERE programs GLOB '[[]"*"]'
    UNION ALL
    SELECT watcher_id, substr(rest, 1, instr(rest, '","') - 1), substr(rest, instr(rest, '","') + 3)
    FROM programs
    WHERE rest <> ''
)
SELECT q.watcher_id, q.queue, replace(replace(p.program, '\"', '"'), '\\', '\') AS program
FROM queues AS q
LEFT JOIN programs AS p ON p.watcher_id = q.watcher_id AND p.program IS NOT NULL
WHERE q.queue IS NOT NULL;

-- Flows with their status in words.
CREATE VIEW v_flow AS
SELECT f.task_flow_id,
    f.task_id,
    f.flow_status,
    CASE f.flow_status
        WHEN 0 THEN 'WAIT' WHEN 1 THEN 'RUNNING' WHEN 2 THEN 'SUSPEND' WHEN 3 THEN 'FINISH' WHEN 9 THEN 'IGNORE'
    END AS status,
    f.reason,
    f.flow_priority,
    f.parameters,
    f.run_key,
    f.task_count,
    f.finish_count,
    f.ignore_count,
    f.suspend_count,
    f.task_count - f.finish_count - f.ignore_count AS open_count,
    f.registered_ts,
    f.registered_by,
    f.started_ts,
    f.finished_ts,
    f.deadline_ts,
    f.failure_policy,
    f.version_id,
    f.parent_flow_id,
    f.parent_exec_seq,
    f.rerun_of,
    f.result,
    m.owner,
    m.description
FROM kr_flow_stat AS f
LEFT JOIN ms_workflow AS m ON m.task_id = f.task_id;

-- Task instances with their status in words.
CREATE VIEW v_task AS
SELECT t.task_flow_id,
    t.task_exec_seq,
    t.task_id,
    t.task_seq,
    t.name,
    t.program,
    t.phase,
    t.queue,
    t.limit_key,
    t.task_priority,
    t.exec_status,
    CASE t.exec_status
        WHEN 0 THEN 'WAIT' WHEN 1 THEN 'RUNNING' WHEN 2 THEN 'SUSPEND' WHEN 3 THEN 'FINISH' WHEN 9 THEN 'IGNORE'
    END AS status,
    t.reason,
    t.error,
    t.wait_count,
    CASE WHEN t.exec_status = 0 AND t.wait_count = 0 THEN 1 ELSE 0 END AS is_ready,
    t.due_ts,
    t.owner AS watcher_id,
    t.claims,
    t.attempt,
    t.max_attempts,
    t.losses,
    t.generation,
    t.iteration,
    t.made_by_exec_seq,
    t.depends_task_exec_seq,
    t.parameters,
    t.result,
    t.registered_ts,
    t.started_ts,
    t.finished_ts,
    t.suspended_ts
FROM kr_task_stat AS t;

-- Why each task that is not over is where it is: a row for each task and cause. Narrow it by task_flow_id.
CREATE VIEW v_waiting AS
-- the earlier task of its own row is not over, or has not told it yet; what kr_task_edge says of the same edge goes first
SELECT t.task_flow_id,
    t.task_exec_seq,
    t.task_id,
    t.task_seq,
    t.name,
    t.program,
    t.queue,
    t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END AS status,
    t.reason,
    'dependency' AS cause,
    t.registered_ts AS since_ts,
    NULLIF(t.due_ts, t.due_ts) AS until_ts,
    NULLIF(t.owner, t.owner) AS by_whom,
    t.task_flow_id AS needs_flow_id,
    t.depends_task_exec_seq AS needs_exec_seq,
    CASE
        WHEN p.exec_status = 0 THEN 'WAIT' WHEN p.exec_status = 1 THEN 'RUNNING' WHEN p.exec_status = 2 THEN 'SUSPEND'
        WHEN p.exec_status = 3 THEN 'FINISH' WHEN p.exec_status = 9 THEN 'IGNORE' ELSE 'MISSING'
    END AS needs_status,
    NULLIF(t.claim_id, t.claim_id) AS wait_id,
    NULLIF(t.name, t.name) AS wait_name,
    NULLIF(t.name, t.name) AS wait_key,
    NULLIF(t.reason, t.reason) AS limit_scope,
    NULLIF(t.name, t.name) AS limit_name,
    NULLIF(t.claims, t.claims) AS limit_most,
    NULLIF(t.claims, t.claims) AS limit_running,
    NULLIF(t.owner, t.owner) AS watcher_id,
    NULLIF(t.error, t.error) AS details,
    'that task must end: let it run, mend it, or finish or ignore it by hand' AS remedy
FROM kr_task_stat AS t
LEFT JOIN kr_task_stat AS p ON p.task_flow_id = t.task_flow_id AND p.task_exec_seq = t.depends_task_exec_seq
LEFT JOIN kr_task_edge AS e
    ON e.task_flow_id = t.task_flow_id
    AND e.task_exec_seq = t.task_exec_seq
    AND e.depends_task_exec_seq = t.depends_task_exec_seq
    AND (e.kind IS NULL OR e.kind <> 'loop')
WHERE t.exec_status IN (0, 2)
    AND t.wait_count > 0
    AND t.depends_task_exec_seq > 0
    AND (
        p.exec_status IS NULL
        OR p.exec_status NOT IN (3, 9)
        OR ((p.wait_count IS NULL OR p.wait_count <> -1) AND (p.reason IS NULL OR p.reason <> 'superseded'))
    )
    AND e.task_flow_id IS NULL
UNION ALL
-- the same of an edge in kr_task_edge; of one with a condition or a default, until its outcome is written down
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    'dependency',
    t.registered_ts,
    NULL,
    NULL,
    e.task_flow_id,
    e.depends_task_exec_seq,
    CASE
        WHEN p.exec_status = 0 THEN 'WAIT' WHEN p.exec_status = 1 THEN 'RUNNING' WHEN p.exec_status = 2 THEN 'SUSPEND'
        WHEN p.exec_status = 3 THEN 'FINISH' WHEN p.exec_status = 9 THEN 'IGNORE' ELSE 'MISSING'
    END,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'that task must end: let it run, mend it, or finish or ignore it by hand'
FROM kr_task_stat AS t
JOIN kr_task_edge AS e ON e.task_flow_id = t.task_flow_id AND e.task_exec_seq = t.task_exec_seq
LEFT JOIN kr_task_stat AS p ON p.task_flow_id = e.task_flow_id AND p.task_exec_seq = e.depends_task_exec_seq
WHERE t.exec_status IN (0, 2)
    AND t.wait_count > 0
    AND e.outcome IS NULL
    AND (e.kind IS NULL OR e.kind <> 'loop')
    AND (
        p.exec_status IS NULL
        OR p.exec_status NOT IN (3, 9)
        OR (
            (p.reason IS NULL OR p.reason <> 'superseded')
            AND (
                p.wait_count IS NULL
                OR p.wait_count <> -1
                OR e.only_if IS NOT NULL
                OR e.is_default
                OR e.kind IN ('error', 'timeout')
            )
        )
    )
UNION ALL
-- open waits: timer, message, approval, form, callback, flow, turn; a poke is a time limit, and nothing awaited
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    w.kind,
    w.created_ts,
    w.due_ts,
    NULL,
    CASE WHEN w.kind = 'flow' THEN w.correlation_key END,
    NULL,
    CASE f.flow_status
        WHEN 0 THEN 'WAIT' WHEN 1 THEN 'RUNNING' WHEN 2 THEN 'SUSPEND' WHEN 3 THEN 'FINISH' WHEN 9 THEN 'IGNORE'
    END,
    w.wait_id,
    w.name,
    w.correlation_key,
    NULL, NULL, NULL, NULL, NULL,
    w.details,
    CASE w.kind
        WHEN 'timer' THEN 'its time must come; due_ts of kr_wait may be set to a time that is past'
        WHEN 'message' THEN 'send a message of that name and key'
        WHEN 'approval' THEN 'answer it with yes or no'
        WHEN 'form' THEN 'fill in the form'
        WHEN 'callback' THEN 'whoever was given the token must call back'
        WHEN 'flow' THEN 'the sub-flow must end: look why it has not'
        WHEN 'turn' THEN 'a flow of the workflow must end, or max_active_flows of ms_workflow be raised'
        ELSE 'what it waits for must come'
    END
FROM kr_task_stat AS t
JOIN kr_wait AS w ON w.task_flow_id = t.task_flow_id AND w.task_exec_seq = t.task_exec_seq
LEFT JOIN kr_flow_stat AS f ON w.kind = 'flow' AND f.task_flow_id = w.correlation_key
WHERE t.exec_status IN (0, 2) AND w.state = 'open' AND w.kind <> 'poke'
UNION ALL
-- a time: the next try, the next look of a sensor, or one that was set by hand
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    CASE t.reason WHEN 'retry' THEN 'retry' WHEN 'again' THEN 'poke' ELSE 'due' END,
    t.started_ts,
    t.due_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.error,
    CASE t.reason
        WHEN 'retry' THEN 'its time must come: then it is tried again; due_ts may be set to a time that is past'
        WHEN 'again' THEN 'its time must come: then it looks again; due_ts may be set to a time that is past'
        ELSE 'its time must come; due_ts may be set to a time that is past'
    END
FROM kr_task_stat AS t
WHERE t.exec_status IN (0, 2) AND t.due_ts IS NOT NULL AND t.wait_count > 0
UNION ALL
-- a row that was made or set back by hand, and that no watcher has taken in yet
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'by hand',
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'a watcher takes the row in within a poll: start one if none runs'
FROM kr_task_stat AS t
WHERE t.exec_status = 0 AND (t.wait_count IS NULL OR t.wait_count < 0)
UNION ALL
-- nothing is awaited: it stands in its queue
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'queued',
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'a worker must become free; a smaller task_priority puts it ahead of others'
FROM kr_task_stat AS t
WHERE t.exec_status = 0 AND t.wait_count = 0
UNION ALL
-- ready, and a limit or a pause of its workflow, its queue or its key lets nothing more start
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    CASE
        WHEN t.paused_ts IS NOT NULL THEN 'paused'
        WHEN t.limit_running >= t.max_running THEN 'limit'
        ELSE 'rate'
    END,
    t.paused_ts,
    CASE
        WHEN t.paused_ts IS NULL AND (t.max_running IS NULL OR t.limit_running < t.max_running) THEN t.free_at_ts
    END,
    t.paused_by,
    NULL, NULL, NULL, NULL, NULL, NULL,
    t.scope,
    t.limit_name,
    t.max_running,
    t.limit_running,
    NULL,
    t.paused_reason,
    CASE
        WHEN t.paused_ts IS NOT NULL THEN 'resume the queue or the workflow; of a key, set paused_ts of ms_limit to NULL'
        WHEN t.max_running = 0 THEN 'the limit is 0, which is a pause: raise it or drop it'
        WHEN t.limit_running >= t.max_running THEN 'a task that counts against the limit must end, or the limit be raised'
        ELSE 'its time must come, or the rate be raised'
    END
FROM (
    SELECT r.*,
        l.scope,
        CASE WHEN l.scope = 'key' THEN r.limit_key ELSE l.name END AS limit_name,
        l.max_running,
        l.rate,
        l.paused_ts,
        l.paused_by,
        l.paused_reason,
        s.free_at_ts,
        (
            SELECT COUNT(*)
            FROM kr_task_stat AS x
            WHERE x.exec_status = 1
                AND (
                    (l.scope = 'workflow' AND x.task_id = r.task_id)
                    OR (l.scope = 'queue' AND x.queue = r.queue)
                    OR (l.scope = 'key' AND x.limit_key = r.limit_key)
                )
        ) AS limit_running
    FROM (
        SELECT y.task_flow_id, y.task_exec_seq, y.task_id, y.task_seq, y.name, y.program, y.queue, y.exec_status,
            y.reason, y.limit_key
        FROM kr_task_stat AS y
        WHERE y.exec_status = 0 AND y.wait_count = 0
    ) AS r
    JOIN ms_limit AS l
        ON (l.scope = 'workflow' AND l.name = r.task_id)
        OR (l.scope = 'queue' AND l.name = r.queue)
        OR (l.scope = 'key' AND l.name = r.limit_key)
        OR (
            l.scope = 'key'
            AND l.name = '*'
            AND r.limit_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM ms_limit AS o WHERE o.scope = 'key' AND o.name = r.limit_key)
        )
    LEFT JOIN kr_limit AS s
        ON s.scope = l.scope
        AND s.name = CASE WHEN l.scope = 'key' THEN r.limit_key ELSE l.name END
) AS t
WHERE t.paused_ts IS NOT NULL
    OR t.limit_running >= t.max_running
    OR (t.rate IS NOT NULL AND t.free_at_ts > (SELECT now_ts FROM v_clock))
UNION ALL
-- ready, and nobody who is alive would take it
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    CASE WHEN t.queue IN (SELECT o.queue FROM v_offer AS o) THEN 'no program' ELSE 'no watcher' END,
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'start a watcher that serves the queue and has the program'
FROM kr_task_stat AS t
WHERE t.exec_status = 0
    AND t.wait_count = 0
    AND (t.queue, t.program) NOT IN (SELECT o.queue, o.program FROM v_offer AS o WHERE o.program IS NOT NULL)
UNION ALL
-- exclusive, set back to 0 while it ran: the former run must have stopped first
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'exclusive',
    t.started_ts,
    w.lease_until_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    w.watcher_id,
    NULL,
    'its former run must stop: its watcher ends it'
FROM kr_task_stat AS t
JOIN kr_watcher AS w ON w.watcher_id = t.owner
WHERE t.exec_status = 0
    AND t.wait_count = 0
    AND t.is_exclusive
    AND t.reason IS NULL
    AND t.suspended_ts IS NULL
    AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
    AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
UNION ALL
-- running, under a lease or after its end
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'RUNNING',
    t.reason,
    CASE
        WHEN w.lease_until_ts > (SELECT now_ts FROM v_clock) AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
            THEN 'running'
        ELSE 'silent'
    END,
    t.started_ts,
    w.lease_until_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.owner,
    NULL,
    CASE
        WHEN w.lease_until_ts > (SELECT now_ts FROM v_clock) AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
            THEN 'its program must end'
        ELSE 'another watcher takes it back: start one if none runs'
    END
FROM kr_task_stat AS t
LEFT JOIN kr_watcher AS w ON w.watcher_id = t.owner
WHERE t.exec_status = 1
UNION ALL
-- suspended: by a person, or because a person is needed
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'SUSPEND',
    t.reason,
    'suspended',
    t.suspended_ts,
    NULL,
    (
        SELECT a.actor
        FROM kr_event AS a
        WHERE t.reason = 'paused by hand'
            -- not ORDER BY with LIMIT 1: for that, MariaDB may read the events of all flows backwards
            AND a.event_id = (
                SELECT max(e.event_id)
                FROM kr_event AS e
                WHERE e.task_flow_id = t.task_flow_id
                    AND e.task_exec_seq = t.task_exec_seq
                    AND e.what IN ('task paused', 'task paused by hand')
            )
    ),
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.error,
    CASE
        WHEN t.reason = 'paused by hand' THEN 'resume it'
        WHEN t.reason = 'flow stopped' THEN 'mend the task that failed, then recover the flow'
        ELSE 'mend the cause, then retry it or recover the flow; or finish or ignore it by hand'
    END
FROM kr_task_stat AS t
WHERE t.exec_status = 2;

-- Queues that anything is known of: what is ready and what runs, live watchers, limit and pause.
CREATE VIEW v_queue AS
SELECT n.queue,
    SUM(n.ready) AS ready,
    SUM(n.running) AS running,
    MIN(n.oldest_ts) AS oldest_ts,
    SUM(n.watchers) AS watchers,
    MAX(l.max_running) AS max_running,
    MAX(l.rate) AS rate,
    MAX(CASE WHEN l.rate IS NOT NULL THEN l.rate_period_s END) AS rate_period_s,
    MAX(CASE WHEN s.free_at_ts > (SELECT now_ts FROM v_clock) THEN s.free_at_ts END) AS free_at_ts,
    MAX(l.paused_ts) AS paused_ts,
    MAX(l.paused_by) AS paused_by,
    MAX(l.paused_reason) AS paused_reason
FROM (
    SELECT t.queue, COUNT(*) AS ready, 0 AS running, MIN(t.registered_ts) AS oldest_ts, 0 AS watchers
    FROM kr_task_stat AS t
    WHERE t.exec_status = 0 AND t.wait_count = 0
    GROUP BY t.queue
    UNION ALL
    SELECT t.queue, 0, COUNT(*), NULL, 0
    FROM kr_task_stat AS t
    WHERE t.exec_status = 1
    GROUP BY t.queue
    UNION ALL
    SELECT o.queue, 0, 0, NULL, COUNT(DISTINCT o.watcher_id)
    FROM v_offer AS o
    GROUP BY o.queue
    UNION ALL
    SELECT p.name, 0, 0, NULL, 0
    FROM ms_limit AS p
    WHERE p.scope = 'queue'
) AS n
LEFT JOIN ms_limit AS l ON l.scope = 'queue' AND l.name = n.queue
LEFT JOIN kr_limit AS s ON s.scope = 'queue' AND s.name = n.queue AND l.rate IS NOT NULL
GROUP BY n.queue;

-- Watchers: whether each is alive, and how many tasks it holds.
CREATE VIEW v_watcher AS
SELECT w.watcher_id,
    w.label,
    w.host,
    w.pid,
    w.queues,
    w.programs,
    w.slots,
    CASE
        WHEN w.state = 'stopped' THEN 'STOPPED'
        WHEN w.lease_until_ts <= c.now_ts OR w.beat_ts > c.ahead_ts THEN 'SILENT'
        WHEN w.state <> 'running' OR w.wanted IS NOT NULL THEN 'DRAINING'
        ELSE 'LIVE'
    END AS status,
    (SELECT COUNT(*) FROM kr_task_stat AS t WHERE t.exec_status = 1 AND t.owner = w.watcher_id) AS running,
    w.wanted,
    w.started_ts,
    w.beat_ts,
    w.lease_until_ts
FROM kr_watcher AS w
CROSS JOIN v_clock AS c;

-- Each kept version of a workflow, taken apart: a row for each field of each step, and one for the step as a whole.
CREATE VIEW v_workflow_version_field AS
SELECT v.version_id, v.task_id, 'workflow' AS part, 0 AS task_seq, 'whole' AS field, '' AS value
FROM ms_workflow_version AS v
UNION ALL
SELECT v.version_id, v.task_id, 'workflow', 0, f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.workflow') AS f
UNION ALL
SELECT v.version_id, v.task_id, 'step', n.value, 'whole', s.value
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.steps') AS s
JOIN json_each(s.value) AS n ON n.key = 'task_seq'
UNION ALL
SELECT v.version_id, v.task_id, 'step', n.value, f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.steps') AS s
JOIN json_each(s.value) AS n ON n.key = 'task_seq'
JOIN json_each(s.value) AS f ON f.key <> 'task_seq';

-- What is otherwise in one version of a workflow than in another, and how many live flows of the first that touches.
-- Narrow it by version_from and version_to.
CREATE VIEW v_workflow_version_diff AS
SELECT a.version_id AS version_from,
    b.version_id AS version_to,
    a.task_id,
    CASE WHEN f.part = 'step' THEN f.task_seq END AS task_seq,
    CASE WHEN f.field = 'whole' THEN 'step removed' WHEN g.field IS NULL THEN 'removed' ELSE 'changed' END AS what,
    CASE WHEN f.field <> 'whole' THEN f.field END AS field,
    f.value AS old_value,
    g.value AS new_value,
    (
        SELECT COUNT(*)
        FROM kr_flow_stat AS l
        WHERE l.task_id = a.task_id
            AND l.version_id = a.version_id
            AND l.flow_status IN (0, 1, 2)
            AND (
                f.part = 'workflow'
                OR EXISTS (
                    SELECT 1
                    FROM kr_task_stat AS t
                    WHERE t.task_flow_id = l.task_flow_id AND t.task_seq = f.task_seq AND t.exec_status IN (0, 1, 2)
                )
            )
    ) AS live_flows
FROM ms_workflow_version AS a
JOIN ms_workflow_version AS b ON b.task_id = a.task_id AND b.version_id <> a.version_id
JOIN v_workflow_version_field AS f ON f.version_id = a.version_id
LEFT JOIN v_workflow_version_field AS g
    ON g.version_id = b.version_id AND g.part = f.part AND g.task_seq = f.task_seq AND g.field = f.field
LEFT JOIN v_workflow_version_field AS h
    ON h.version_id = b.version_id AND h.part = f.part AND h.task_seq = f.task_seq AND h.field = 'whole'
WHERE (f.field = 'whole' AND g.field IS NULL)
    OR (f.field <> 'whole' AND h.field IS NOT NULL AND (g.field IS NULL OR g.value <> f.value))
UNION ALL
SELECT a.version_id,
    b.version_id,
    a.task_id,
    CASE WHEN g.part = 'step' THEN g.task_seq END,
    CASE WHEN g.field = 'whole' THEN 'step added' ELSE 'added' END,
    CASE WHEN g.field <> 'whole' THEN g.field END,
    NULL,
    g.value,
    (
        SELECT COUNT(*)
        FROM kr_flow_stat AS l
        WHERE l.task_id = a.task_id
            AND l.version_id = a.version_id
            AND l.flow_status IN (0, 1, 2)
            AND (
                g.part = 'workflow'
                OR g.field = 'whole'
                OR EXISTS (
                    SELECT 1
                    FROM kr_task_stat AS t
                    WHERE t.task_flow_id = l.task_flow_id AND t.task_seq = g.task_seq AND t.exec_status IN (0, 1, 2)
                )
            )
    )
FROM ms_workflow_version AS a
JOIN ms_workflow_version AS b ON b.task_id = a.task_id AND b.version_id <> a.version_id
JOIN v_workflow_version_field AS g ON g.version_id = b.version_id
LEFT JOIN v_workflow_version_field AS f
    ON f.version_id = a.version_id AND f.part = g.part AND f.task_seq = g.task_seq AND f.field = g.field
LEFT JOIN v_workflow_version_field AS h
    ON h.version_id = a.version_id AND h.part = g.part AND h.task_seq = g.task_seq AND h.field = 'whole'
WHERE f.field IS NULL AND (g.field = 'whole' OR h.field IS NOT NULL);
