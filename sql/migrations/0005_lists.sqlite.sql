-- Revision 0005 on sqlite: lists. The flows of a status, newest first.

CREATE INDEX ix_kr_flow_stat_listed ON kr_flow_stat (flow_status, registered_ts, task_flow_id) WHERE registered_ts IS NOT NULL;
