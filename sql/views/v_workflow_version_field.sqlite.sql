-- Each kept version of a workflow, taken apart: a row for each field of each step, and one for the step as a whole.
CREATE VIEW v_workflow_version_field AS
SELECT v.version_id, v.task_id, 'workflow' AS part, 0 AS task_seq, 'whole' AS field, '' AS value
FROM ms_workflow_version AS v
UNION ALL
SELECT v.version_id, v.task_id, 'workflow', 0, f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(CASE WHEN json_valid(v.definition) THEN v.definition ELSE '{}' END, '$.workflow') AS f
UNION ALL
SELECT v.version_id, v.task_id, 'step', json_extract(s.value, '$.task_seq'), 'whole', s.value
FROM ms_workflow_version AS v
JOIN json_each(CASE WHEN json_valid(v.definition) THEN v.definition ELSE '{}' END, '$.steps') AS s
UNION ALL
SELECT v.version_id, v.task_id, 'step', json_extract(s.value, '$.task_seq'), f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(CASE WHEN json_valid(v.definition) THEN v.definition ELSE '{}' END, '$.steps') AS s
JOIN json_each(s.value) AS f
WHERE f.key <> 'task_seq';
