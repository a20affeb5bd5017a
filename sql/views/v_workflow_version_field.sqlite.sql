-- Each kept version of a workflow, taken apart: a row for each field of each step, and one for the step as a whole.
CREATE VIEW v_workflow_version_field AS
SELECT v.version_id, v.task_id, 'workflow' AS part, 0 AS task_seq, 'whole' AS field, '' AS value
FROM ms_workflow_version AS v
UNION ALL
SELECT v.version_id, v.task_id, 'workflow', 0, f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.workflow') AS f
UNION ALL
SELECT v.version_id, v.task_id, 'step', n.value, 'whole', s.value
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.steps') AS s
JOIN json_each(s.value) AS n ON n.key = 'task_seq'
UNION ALL
SELECT v.version_id, v.task_id, 'step', n.value, f.key,
    CASE f.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE coalesce(CAST(f.value AS TEXT), 'null') END
FROM ms_workflow_version AS v
JOIN json_each(v.definition, '$.steps') AS s
JOIN json_each(s.value) AS n ON n.key = 'task_seq'
JOIN json_each(s.value) AS f ON f.key <> 'task_seq';
