-- Revision 0007 on mariadb: the operating surface. Commands, tokens, tags, summaries, logs of running tries, pauses.

-- A request of an operator, and what became of it. One that was inserted waits for a watcher.
CREATE TABLE kr_command (
    command_id BIGINT NOT NULL AUTO_INCREMENT,
    verb VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    subject VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    arguments MEDIUMTEXT CHARACTER SET utf8mb4,
    reason MEDIUMTEXT CHARACTER SET utf8mb4,
    asked_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    asked_ts DATETIME(6),
    door VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'sql',
    address VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    handled_ts DATETIME(6),
    handled_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    outcome VARCHAR(16),
    answer MEDIUMTEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (command_id),
    CONSTRAINT ck_kr_command_outcome CHECK (outcome IN ('done', 'refused'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_command_open ON kr_command (handled_ts, command_id);

CREATE INDEX ix_kr_command_subject ON kr_command (subject, command_id);

CREATE INDEX ix_kr_flow_stat_run_key ON kr_flow_stat (run_key, registered_ts);

-- How many flows of a workflow began and ended in one minute, written when the minute is over.
CREATE TABLE kr_flow_summary (
    minute_ts DATETIME(6) NOT NULL,
    task_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    registered INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    ignored INTEGER NOT NULL DEFAULT 0,
    took_s DOUBLE,
    longest_s DOUBLE,
    PRIMARY KEY (minute_ts, task_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- A tag that a flow was given when it was registered.
CREATE TABLE kr_flow_tag (
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    tag VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    PRIMARY KEY (task_flow_id, tag)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_flow_tag_tagged ON kr_flow_tag (tag, task_flow_id);

-- What a try that still runs has logged so far, in parts.
CREATE TABLE kr_task_log (
    log_id BIGINT NOT NULL AUTO_INCREMENT,
    task_flow_id VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    task_exec_seq BIGINT NOT NULL,
    claim_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    written_ts DATETIME(6) NOT NULL,
    text MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (log_id)
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

CREATE INDEX ix_kr_task_log_task ON kr_task_log (task_flow_id, task_exec_seq, log_id);

-- A person who logs in elsewhere (OpenID Connect), and what that person may do here.
CREATE TABLE ms_principal (
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6),
    disabled_ts DATETIME(6),
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

-- Who may ask for what over HTTP: the hash of a token or of a browser's session, never itself.
CREATE TABLE ms_token (
    token_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    kind VARCHAR(16) NOT NULL DEFAULT 'api',
    token_hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows MEDIUMTEXT CHARACTER SET utf8mb4,
    created_ts DATETIME(6) NOT NULL,
    created_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    expires_ts DATETIME(6),
    revoked_ts DATETIME(6),
    revoked_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    used_ts DATETIME(6),
    parent_id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    principal VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
    PRIMARY KEY (token_id),
    CONSTRAINT uq_ms_token_hash UNIQUE (token_hash),
    CONSTRAINT ck_ms_token_kind CHECK (kind IN ('api', 'session')),
    CONSTRAINT ck_ms_token_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
) ENGINE=InnoDB CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_limit ADD COLUMN paused_ts DATETIME(6);

ALTER TABLE ms_limit ADD COLUMN paused_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_limit ADD COLUMN paused_reason MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_workflow ADD COLUMN description MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_workflow ADD COLUMN owner VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_workflow ADD COLUMN tags MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_workflow ADD COLUMN source MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_workflow ADD COLUMN source_format VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE ms_workflow ADD COLUMN changed_ts DATETIME(6);

ALTER TABLE ms_workflow ADD COLUMN changed_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_flow_stat ADD COLUMN registered_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE kr_watcher ADD COLUMN wanted VARCHAR(16);
