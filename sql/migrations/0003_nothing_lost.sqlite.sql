-- Revision 0003 on sqlite: nothing lost. Executors, exclusive tasks, retention.

ALTER TABLE kr_task_stat ADD COLUMN executor VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN is_exclusive BOOLEAN;

ALTER TABLE ms_task_option ADD COLUMN executor VARCHAR(16);

ALTER TABLE ms_task_option ADD COLUMN is_exclusive BOOLEAN;

ALTER TABLE kr_watcher ADD COLUMN programs TEXT;

ALTER TABLE ms_workflow ADD COLUMN retention_s DOUBLE;

CREATE INDEX ix_kr_flow_stat_ended ON kr_flow_stat (finished_ts) WHERE finished_ts IS NOT NULL;

CREATE INDEX ix_kr_message_read ON kr_message (wait_id) WHERE wait_id IS NOT NULL;
