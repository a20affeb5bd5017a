-- Roles of a Penstock database on PostgreSQL, and what each may do. Run it in the database, after `penstock db init` and
-- after each `penstock db upgrade`, as the owner of the tables or as a superuser; harmless to repeat. Roles do not log in:
-- GRANT penstock_watcher TO somebody. docs/sql.md says which is for what.
DO $$ BEGIN CREATE ROLE penstock_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE penstock_operator NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE penstock_register NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE penstock_watcher NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE penstock_migrator NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;

-- before PostgreSQL 15 everybody may create tables
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO
    penstock_reader, penstock_operator, penstock_register, penstock_watcher, penstock_migrator;

-- reader: everything but the hashes of tokens, and who logs in
GRANT SELECT ON
    ms_task_definition, ms_task_edge, ms_task_option, ms_workflow, ms_workflow_version, ms_limit,
    kr_flow_stat, kr_task_stat, kr_task_edge, kr_task_attempt, kr_wait, kr_message, kr_limit, kr_event, kr_watcher,
    kr_command, kr_flow_tag, kr_flow_summary, kr_task_log, alembic_version,
    v_clock, v_offer, v_flow, v_task, v_waiting, v_queue, v_watcher, v_workflow_version_field, v_workflow_version_diff
TO penstock_reader, penstock_operator, penstock_register, penstock_watcher;

-- operator: asks for things, by rows of kr_command, and fills what a person fills
GRANT INSERT (verb, subject, arguments, reason, asked_by) ON kr_command TO penstock_operator;
GRANT USAGE ON SEQUENCE kr_command_command_id_seq TO penstock_operator;

-- register: the account of `penstock serve`: starts flows, carries out what operators ask for over HTTP, writes definitions
-- and tokens. What happened and who asked for it is added to, and never changed
GRANT INSERT, UPDATE ON
    ms_task_definition, ms_task_edge, ms_task_option, ms_workflow, ms_limit,
    kr_flow_stat, kr_task_stat, kr_task_edge, kr_task_attempt, kr_wait, kr_message, kr_limit
TO penstock_register;
GRANT INSERT ON ms_workflow_version, kr_flow_tag, kr_event, kr_command TO penstock_register;
GRANT UPDATE (wanted) ON kr_watcher TO penstock_register;
GRANT SELECT, INSERT, UPDATE ON ms_token, ms_principal TO penstock_register;
GRANT DELETE ON ms_token TO penstock_register;
GRANT USAGE ON SEQUENCE kr_command_command_id_seq, kr_event_event_id_seq TO penstock_register;
-- definitions that are replaced, limits that are dropped, messages that nobody came for, edges of a plan that is made
-- anew, and the row of a flow that its workflow's limit refuses in the transaction that inserted it
GRANT DELETE ON
    ms_task_definition, ms_task_edge, ms_task_option, ms_workflow, ms_limit, kr_message, kr_task_edge, kr_flow_stat
TO penstock_register;

-- watcher: runs flows, carries out rows of kr_command, and deletes what is kept long enough
GRANT INSERT, UPDATE, DELETE ON
    kr_flow_stat, kr_task_stat, kr_task_edge, kr_task_attempt, kr_wait, kr_message, kr_limit, kr_watcher,
    kr_flow_tag, kr_flow_summary, kr_task_log, ms_limit
TO penstock_watcher;
GRANT INSERT ON ms_workflow_version TO penstock_watcher;
GRANT INSERT, DELETE ON kr_event TO penstock_watcher;
GRANT USAGE ON SEQUENCE kr_event_event_id_seq, kr_task_log_log_id_seq TO penstock_watcher;
GRANT UPDATE (asked_by, arguments, handled_ts, handled_by, outcome, answer, changes) ON kr_command TO penstock_watcher;
-- to lock these rows takes the right to change them: it is done while flows of a workflow with a limit are counted, and to
-- see whether the server skips locked rows
GRANT UPDATE (task_id) ON ms_workflow TO penstock_watcher;
GRANT UPDATE ON alembic_version TO penstock_watcher;

-- migrator: owns the tables, and so may change them
GRANT CREATE ON SCHEMA public TO penstock_migrator;
DO $$ DECLARE r record; BEGIN FOR r IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND (relname ~ '^(ms|kr|v)_' OR relname = 'alembic_version') LOOP EXECUTE format('ALTER TABLE %s OWNER TO penstock_migrator', r.name); END LOOP; END $$;
