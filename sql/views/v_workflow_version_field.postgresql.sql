-- Each kept version of a workflow, taken apart: a row for each field of each step, and one for the step as a whole.
CREATE VIEW v_workflow_version_field AS
SELECT v.version_id, v.task_id, 'workflow' AS part, CAST(0 AS BIGINT) AS task_seq, 'whole' AS field, '' AS value
FROM ms_workflow_version AS v
UNION ALL
SELECT v.version_id, v.task_id, 'workflow', 0, f.key, coalesce(f.value, 'null')
FROM ms_workflow_version AS v
CROSS JOIN LATERAL json_each_text(v.definition::json -> 'workflow') AS f(key, value)
UNION ALL
SELECT v.version_id, v.task_id, 'step', (s.step ->> 'task_seq')::bigint, 'whole', s.step::text
FROM ms_workflow_version AS v
CROSS JOIN LATERAL json_array_elements(v.definition::json -> 'steps') AS s(step)
UNION ALL
SELECT v.version_id, v.task_id, 'step', (s.step ->> 'task_seq')::bigint, f.key, coalesce(f.value, 'null')
FROM ms_workflow_version AS v
CROSS JOIN LATERAL json_array_elements(v.definition::json -> 'steps') AS s(step)
CROSS JOIN LATERAL json_each_text(s.step) AS f(key, value)
WHERE f.key <> 'task_seq';
