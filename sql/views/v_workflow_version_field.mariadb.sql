-- Each kept version of a workflow, taken apart: a row for each field of each step, and one for the step as a whole.
CREATE VIEW v_workflow_version_field AS
SELECT v.version_id, v.task_id, 'workflow' AS part, 0 AS task_seq, 'whole' AS field, '' AS value
FROM ms_workflow_version AS v
UNION ALL
SELECT v.version_id, v.task_id, 'workflow', 0, f.field,
    JSON_UNQUOTE(JSON_EXTRACT(v.definition, CONCAT('$.workflow."', f.field, '"')))
FROM ms_workflow_version AS v
JOIN JSON_TABLE(
    COALESCE(JSON_KEYS(v.definition, '$.workflow'), '[]'), '$[*]' COLUMNS (field VARCHAR(64) PATH '$')
) AS f
UNION ALL
SELECT v.version_id, v.task_id, 'step', s.task_seq, 'whole', s.step
FROM ms_workflow_version AS v
JOIN JSON_TABLE(
    v.definition, '$.steps[*]' COLUMNS (task_seq BIGINT PATH '$.task_seq', step JSON PATH '$')
) AS s
UNION ALL
SELECT v.version_id, v.task_id, 'step', s.task_seq, f.field,
    JSON_UNQUOTE(JSON_EXTRACT(s.step, CONCAT('$."', f.field, '"')))
FROM ms_workflow_version AS v
JOIN JSON_TABLE(
    v.definition, '$.steps[*]' COLUMNS (task_seq BIGINT PATH '$.task_seq', step JSON PATH '$')
) AS s
JOIN JSON_TABLE(JSON_KEYS(s.step), '$[*]' COLUMNS (field VARCHAR(64) PATH '$')) AS f
WHERE f.field <> 'task_seq';
