-- Revision 0005 on mysql: lists. The flows of a status, newest first.

CREATE INDEX ix_kr_flow_stat_by_status ON kr_flow_stat (flow_status, registered_ts, task_flow_id);

DROP INDEX ix_kr_flow_stat_status ON kr_flow_stat;
