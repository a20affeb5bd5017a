-- Revision 0003 on mysql: nothing lost. Executors, exclusive tasks, retention.

ALTER TABLE kr_task_stat ADD COLUMN executor VARCHAR(16);

ALTER TABLE kr_task_stat ADD COLUMN is_exclusive BOOL;

ALTER TABLE ms_task_option ADD COLUMN executor VARCHAR(16);

ALTER TABLE ms_task_option ADD COLUMN is_exclusive BOOL;

ALTER TABLE kr_watcher ADD COLUMN programs MEDIUMTEXT CHARACTER SET utf8mb4;

ALTER TABLE ms_workflow ADD COLUMN retention_s DOUBLE;

CREATE INDEX ix_kr_flow_stat_finished ON kr_flow_stat (finished_ts);
