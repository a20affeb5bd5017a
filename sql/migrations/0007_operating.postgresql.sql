-- Revision 0007 on postgresql: the operating surface. Commands, tokens, tags, summaries, logs of running tries, pauses.

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

CREATE INDEX ix_kr_flow_stat_keyed ON kr_flow_stat (run_key, registered_ts) WHERE run_key IS NOT NULL;

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

ALTER TABLE ms_limit ADD COLUMN paused_ts TIMESTAMP WITH TIME ZONE;

ALTER TABLE ms_limit ADD COLUMN paused_by VARCHAR(256) COLLATE "C";

ALTER TABLE ms_limit ADD COLUMN paused_reason TEXT;

ALTER TABLE ms_workflow ADD COLUMN description TEXT;

ALTER TABLE ms_workflow ADD COLUMN owner VARCHAR(256) COLLATE "C";

ALTER TABLE ms_workflow ADD COLUMN tags TEXT;

ALTER TABLE ms_workflow ADD COLUMN source TEXT;

ALTER TABLE ms_workflow ADD COLUMN source_format VARCHAR(16) COLLATE "C";

ALTER TABLE ms_workflow ADD COLUMN changed_ts TIMESTAMP WITH TIME ZONE;

ALTER TABLE ms_workflow ADD COLUMN changed_by VARCHAR(256) COLLATE "C";

ALTER TABLE kr_flow_stat ADD COLUMN registered_by VARCHAR(256) COLLATE "C";

ALTER TABLE kr_watcher ADD COLUMN wanted VARCHAR(16);
