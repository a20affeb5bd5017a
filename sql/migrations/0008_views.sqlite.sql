-- Revision 0008 on sqlite: views, the role worker, and what a command changed. The views stand in sql/views. A check is
-- changed by making the table anew.

CREATE TABLE new_ms_principal (
    name VARCHAR(256) NOT NULL,
    role VARCHAR(16) NOT NULL,
    workflows TEXT,
    created_ts TEXT,
    disabled_ts TEXT,
    PRIMARY KEY (name),
    CONSTRAINT ck_ms_principal_known_role CHECK (role IN ('viewer', 'worker', 'operator', 'author', 'admin'))
);

INSERT INTO new_ms_principal (name, role, workflows, created_ts, disabled_ts)
SELECT name, role, workflows, created_ts, disabled_ts FROM ms_principal;

DROP TABLE ms_principal;

ALTER TABLE new_ms_principal RENAME TO ms_principal;

CREATE TABLE new_ms_token (
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

INSERT INTO new_ms_token (
    token_id, name, kind, token_hash, role, workflows, created_ts, created_by,
    expires_ts, revoked_ts, revoked_by, used_ts, parent_id, principal
)
SELECT
    token_id, name, kind, token_hash, role, workflows, created_ts, created_by,
    expires_ts, revoked_ts, revoked_by, used_ts, parent_id, principal
FROM ms_token;

DROP TABLE ms_token;

ALTER TABLE new_ms_token RENAME TO ms_token;

ALTER TABLE kr_command ADD COLUMN changes TEXT;
