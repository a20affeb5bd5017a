-- Revision 0007 on sqlite: the operating surface. Commands, tokens, tags, summaries, logs of running tries, pauses.

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

CREATE INDEX ix_kr_flow_stat_keyed ON kr_flow_stat (run_key, registered_ts) WHERE run_key IS NOT NULL;

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

-- A person who logs in elsewhere (OpenID Connect), and what that person may do here.
CREATE TABLE ms_principal (
    name VARCHAR(256) NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TEXT,
    disabled_ts TEXT,
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
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
    CONSTRAINT ck_ms_token_role CHECK (role IN ('viewer', 'operator', 'author', 'admin'))
);

ALTER TABLE ms_limit ADD COLUMN paused_ts TEXT;

ALTER TABLE ms_limit ADD COLUMN paused_by VARCHAR(256);

ALTER TABLE ms_limit ADD COLUMN paused_reason TEXT;

ALTER TABLE ms_workflow ADD COLUMN description TEXT;

ALTER TABLE ms_workflow ADD COLUMN owner VARCHAR(256);

ALTER TABLE ms_workflow ADD COLUMN tags TEXT;

ALTER TABLE ms_workflow ADD COLUMN source TEXT;

ALTER TABLE ms_workflow ADD COLUMN source_format VARCHAR(16);

ALTER TABLE ms_workflow ADD COLUMN changed_ts TEXT;

ALTER TABLE ms_workflow ADD COLUMN changed_by VARCHAR(256);

ALTER TABLE kr_flow_stat ADD COLUMN registered_by VARCHAR(256);

ALTER TABLE kr_watcher ADD COLUMN wanted VARCHAR(16);
