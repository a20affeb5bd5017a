-- Revision 0006 on sqlite: behind. What stands behind a task is looked up by its number first, and then by its flow.

CREATE INDEX ix_kr_task_stat_behind ON kr_task_stat (depends_task_exec_seq, task_flow_id);

DROP INDEX ix_kr_task_stat_after;
