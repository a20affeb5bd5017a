-- Revision 0004 on mariadb: storage. Room for new versions of rows, and when dead ones are cleared away.

ALTER TABLE kr_event ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_flow_stat ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_limit ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_message ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_task_attempt ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_task_edge ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_task_stat ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_wait ROW_FORMAT=DYNAMIC;

ALTER TABLE kr_watcher ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_limit ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_task_definition ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_task_edge ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_task_option ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_workflow ROW_FORMAT=DYNAMIC;

ALTER TABLE ms_workflow_version ROW_FORMAT=DYNAMIC;
