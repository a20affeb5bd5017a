-- Penstock's tables on mariadb, revision 0001. Written from engine/tables.py by `make schema`.

-- Something that happened, for people and subscribers.
CREATE TABLE kr_event (
    event_id BIGINT NOT NULL AUTO_INCREMENT,
    event_ts DATETIME(6) NOT NULL,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    task_exec_seq BIGINT,
    what VARCHAR(64) NOT NULL,
    actor VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    details MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (event_id)
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_event_flow ON kr_event (task_flow_id, event_id);

-- A flow: one run of a workflow.
CREATE TABLE kr_flow_stat (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    flow_status SMALLINT NOT NULL DEFAULT 0,
    flow_priority SMALLINT,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    run_key VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    request_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    task_count INTEGER NOT NULL DEFAULT 0,
    finish_count INTEGER NOT NULL DEFAULT 0,
    ignore_count INTEGER NOT NULL DEFAULT 0,
    suspend_count INTEGER NOT NULL DEFAULT 0,
    registered_ts DATETIME(6),
    started_ts DATETIME(6),
    finished_ts DATETIME(6),
    version_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    PRIMARY KEY (task_flow_id),
    CONSTRAINT uq_kr_flow_stat_idempotency UNIQUE (task_id, idempotency_key)
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_flow_stat_newest ON kr_flow_stat (registered_ts, task_flow_id);

CREATE INDEX ix_kr_flow_stat_status ON kr_flow_stat (flow_status);

CREATE INDEX ix_kr_flow_stat_workflow ON kr_flow_stat (task_id, registered_ts, task_flow_id);

-- A try that did not simply finish, or that logged something.
CREATE TABLE kr_task_attempt (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    claim_no INTEGER NOT NULL,
    watcher_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    outcome VARCHAR(16) NOT NULL,
    accepted BOOL NOT NULL DEFAULT false,
    claimed_ts DATETIME(6),
    ended_ts DATETIME(6),
    lease_until_ts DATETIME(6),
    error MEDIUMTEXT CHARACTER SET utf8mb4,
    traceback MEDIUMTEXT CHARACTER SET utf8mb4,
    log MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (task_flow_id, task_exec_seq, claim_id)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- Second and further predecessors of a task instance; the first stands in depends_task_exec_seq.
CREATE TABLE kr_task_edge (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL,
    PRIMARY KEY (task_flow_id, task_exec_seq, depends_task_exec_seq)
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_task_edge_after ON kr_task_edge (task_flow_id, depends_task_exec_seq);

-- A task instance. The first twelve columns are Flower's, in Flower's order.
CREATE TABLE kr_task_stat (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    depends_task_exec_seq BIGINT NOT NULL DEFAULT (-1),
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    exec_status SMALLINT NOT NULL DEFAULT 0,
    task_priority SMALLINT NOT NULL DEFAULT 0,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    registered_ts DATETIME(6),
    started_ts DATETIME(6),
    finished_ts DATETIME(6),
    suspended_ts DATETIME(6),
    program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    queue VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'default',
    wait_count INTEGER,
    reason VARCHAR(64),
    due_ts DATETIME(6),
    claims INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    owner VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    result MEDIUMTEXT CHARACTER SET utf8mb4,
    error MEDIUMTEXT CHARACTER SET utf8mb4,
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    PRIMARY KEY (task_flow_id, task_exec_seq),
    CONSTRAINT ck_kr_task_stat_priority CHECK (task_priority >= -20 AND task_priority < 20),
    CONSTRAINT ck_kr_task_stat_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_kr_task_stat_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_kr_task_stat_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_kr_task_stat_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1),
    CONSTRAINT ck_kr_task_stat_status CHECK (exec_status IN (0, 1, 2, 3, 9))
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_kr_task_stat_after ON kr_task_stat (task_flow_id, depends_task_exec_seq);

CREATE INDEX ix_kr_task_stat_due_ts ON kr_task_stat (due_ts);

CREATE INDEX ix_kr_task_stat_state ON kr_task_stat (exec_status, wait_count, queue, task_priority, registered_ts, task_flow_id, task_exec_seq);

-- A live watcher process and its lease.
CREATE TABLE kr_watcher (
    watcher_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    label VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    host VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    pid INTEGER,
    queues VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    slots INTEGER NOT NULL DEFAULT 0,
    state VARCHAR(16) NOT NULL DEFAULT 'running',
    started_ts DATETIME(6) NOT NULL,
    beat_ts DATETIME(6) NOT NULL,
    lease_until_ts DATETIME(6) NOT NULL,
    PRIMARY KEY (watcher_id)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- A step of a workflow: rows that share a task_id are one workflow.
CREATE TABLE ms_task_definition (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    program VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
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
) ENGINE=InnoDB CHARSET=utf8mb4;

-- This step after that step. A workflow without a row here is a chain by task_seq.
CREATE TABLE ms_task_edge (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    depends_task_seq BIGINT NOT NULL,
    PRIMARY KEY (task_id, task_seq, depends_task_seq)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- The extras of a step. A step without a row here is as Flower has it.
CREATE TABLE ms_task_option (
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_seq BIGINT NOT NULL,
    parameters MEDIUMTEXT CHARACTER SET utf8mb4,
    queue VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    max_attempts INTEGER,
    retry_delay_s DOUBLE,
    retry_backoff DOUBLE,
    retry_max_delay_s DOUBLE,
    retry_jitter DOUBLE,
    PRIMARY KEY (task_id, task_seq),
    CONSTRAINT ck_ms_task_option_max_attempts CHECK (max_attempts >= 1),
    CONSTRAINT ck_ms_task_option_retry_delay CHECK (retry_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_backoff CHECK (retry_backoff >= 1),
    CONSTRAINT ck_ms_task_option_retry_max_delay CHECK (retry_max_delay_s >= 0),
    CONSTRAINT ck_ms_task_option_retry_jitter CHECK (retry_jitter >= 0 AND retry_jitter <= 1)
) ENGINE=InnoDB CHARSET=utf8mb4;

-- A definition as it was when a flow was made from it, under the hash of its content.
CREATE TABLE ms_workflow_version (
    version_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    definition MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    created_ts DATETIME(6) NOT NULL,
    PRIMARY KEY (version_id)
) ENGINE=InnoDB CHARSET=utf8mb4;

CREATE INDEX ix_ms_workflow_version_newest ON ms_workflow_version (task_id, created_ts);
