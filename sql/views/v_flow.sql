-- Flows with their status in words.
CREATE VIEW v_flow AS
SELECT f.task_flow_id,
    f.task_id,
    f.flow_status,
    CASE f.flow_status
        WHEN 0 THEN 'WAIT' WHEN 1 THEN 'RUNNING' WHEN 2 THEN 'SUSPEND' WHEN 3 THEN 'FINISH' WHEN 9 THEN 'IGNORE'
    END AS status,
    f.reason,
    f.flow_priority,
    f.parameters,
    f.run_key,
    f.task_count,
    f.finish_count,
    f.ignore_count,
    f.suspend_count,
    f.task_count - f.finish_count - f.ignore_count AS open_count,
    f.registered_ts,
    f.registered_by,
    f.started_ts,
    f.finished_ts,
    f.deadline_ts,
    f.failure_policy,
    f.version_id,
    f.parent_flow_id,
    f.parent_exec_seq,
    f.rerun_of,
    f.result,
    m.owner,
    m.description
FROM kr_flow_stat AS f
LEFT JOIN ms_workflow AS m ON m.task_id = f.task_id;
