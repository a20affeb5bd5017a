-- Roles of a Penstock database on MariaDB and MySQL, and what each may do. Run it with that database as the default one,
-- after `penstock db init` and after each `penstock db upgrade`, as an account that may create roles; harmless to repeat.
-- GRANT penstock_watcher TO somebody, and make it that account's default role. docs/sql.md says which is for what.
CREATE ROLE IF NOT EXISTS penstock_reader;
CREATE ROLE IF NOT EXISTS penstock_operator;
CREATE ROLE IF NOT EXISTS penstock_register;
CREATE ROLE IF NOT EXISTS penstock_watcher;
CREATE ROLE IF NOT EXISTS penstock_migrator;

-- reader: everything but the hashes of tokens, and who logs in
GRANT SELECT ON ms_task_definition TO penstock_reader;
GRANT SELECT ON ms_task_edge TO penstock_reader;
GRANT SELECT ON ms_task_option TO penstock_reader;
GRANT SELECT ON ms_workflow TO penstock_reader;
GRANT SELECT ON ms_workflow_version TO penstock_reader;
GRANT SELECT ON ms_limit TO penstock_reader;
GRANT SELECT ON kr_flow_stat TO penstock_reader;
GRANT SELECT ON kr_task_stat TO penstock_reader;
GRANT SELECT ON kr_task_edge TO penstock_reader;
GRANT SELECT ON kr_task_attempt TO penstock_reader;
GRANT SELECT ON kr_wait TO penstock_reader;
GRANT SELECT ON kr_message TO penstock_reader;
GRANT SELECT ON kr_limit TO penstock_reader;
GRANT SELECT ON kr_event TO penstock_reader;
GRANT SELECT ON kr_watcher TO penstock_reader;
GRANT SELECT ON kr_command TO penstock_reader;
GRANT SELECT ON kr_flow_tag TO penstock_reader;
GRANT SELECT ON kr_flow_summary TO penstock_reader;
GRANT SELECT ON kr_task_log TO penstock_reader;
GRANT SELECT ON alembic_version TO penstock_reader;
GRANT SELECT ON v_clock TO penstock_reader;
GRANT SELECT ON v_offer TO penstock_reader;
GRANT SELECT ON v_flow TO penstock_reader;
GRANT SELECT ON v_task TO penstock_reader;
GRANT SELECT ON v_waiting TO penstock_reader;
GRANT SELECT ON v_queue TO penstock_reader;
GRANT SELECT ON v_watcher TO penstock_reader;
GRANT SELECT ON v_workflow_version_field TO penstock_reader;
GRANT SELECT ON v_workflow_version_diff TO penstock_reader;
GRANT penstock_reader TO penstock_operator;
GRANT penstock_reader TO penstock_register;
GRANT penstock_reader TO penstock_watcher;

-- operator: asks for things, by rows of kr_command, and fills what a person fills
GRANT INSERT (verb, subject, arguments, reason, asked_by) ON kr_command TO penstock_operator;

-- An INSERT that leaves alone what is there already takes UPDATE here as well: so of versions and tags.

-- register: the account of `penstock serve`: starts flows, carries out what operators ask for over HTTP, writes definitions
-- and tokens. What happened and who asked for it is added to, and never changed
GRANT INSERT, UPDATE, DELETE ON ms_task_definition TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON ms_task_edge TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON ms_task_option TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON ms_workflow TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON ms_limit TO penstock_register;
GRANT SELECT, INSERT, UPDATE, DELETE ON ms_token TO penstock_register;
GRANT SELECT, INSERT, UPDATE ON ms_principal TO penstock_register;
GRANT INSERT, UPDATE ON ms_workflow_version TO penstock_register;
GRANT INSERT, UPDATE ON kr_task_stat TO penstock_register;
GRANT INSERT, UPDATE ON kr_task_attempt TO penstock_register;
GRANT INSERT, UPDATE ON kr_wait TO penstock_register;
GRANT INSERT, UPDATE ON kr_limit TO penstock_register;
GRANT INSERT, UPDATE ON kr_flow_tag TO penstock_register;
GRANT INSERT ON kr_event TO penstock_register;
GRANT INSERT ON kr_command TO penstock_register;
GRANT UPDATE (wanted) ON kr_watcher TO penstock_register;
-- messages that nobody came for, edges of a plan that is made anew, and the row of a flow that its workflow's limit refuses
-- in the transaction that inserted it
GRANT INSERT, UPDATE, DELETE ON kr_message TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON kr_task_edge TO penstock_register;
GRANT INSERT, UPDATE, DELETE ON kr_flow_stat TO penstock_register;

-- watcher: runs flows, carries out rows of kr_command, and deletes what is kept long enough
GRANT INSERT, UPDATE, DELETE ON kr_flow_stat TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_task_stat TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_task_edge TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_task_attempt TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_wait TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_message TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_limit TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_watcher TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_flow_tag TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_flow_summary TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON kr_task_log TO penstock_watcher;
GRANT INSERT, UPDATE, DELETE ON ms_limit TO penstock_watcher;
GRANT INSERT, UPDATE ON ms_workflow_version TO penstock_watcher;
GRANT INSERT, DELETE ON kr_event TO penstock_watcher;
GRANT UPDATE (asked_by, arguments, handled_ts, handled_by, outcome, answer, changes) ON kr_command TO penstock_watcher;
-- to lock these rows takes the right to change them: it is done while flows of a workflow with a limit are counted, and
-- where claims come one after the other
GRANT UPDATE (task_id) ON ms_workflow TO penstock_watcher;
GRANT UPDATE ON alembic_version TO penstock_watcher;

-- migrator: makes and changes tables and views
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW ON *
TO penstock_migrator;
