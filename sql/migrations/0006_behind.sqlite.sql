-- Revision 0006 on sqlite: behind. The index of what stands behind a task leaves out the first tasks of flows.

CREATE INDEX ix_kr_task_stat_behind ON kr_task_stat (task_flow_id, depends_task_exec_seq) WHERE depends_task_exec_seq > 0;

DROP INDEX ix_kr_task_stat_after;
