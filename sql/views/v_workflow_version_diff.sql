-- What is otherwise in one version of a workflow than in another, and how many live flows of the first that touches.
-- Narrow it by version_from and version_to.
CREATE VIEW v_workflow_version_diff AS
SELECT a.version_id AS version_from,
    b.version_id AS version_to,
    a.task_id,
    CASE WHEN f.part = 'step' THEN f.task_seq END AS task_seq,
    CASE WHEN f.field = 'whole' THEN 'step removed' WHEN g.field IS NULL THEN 'removed' ELSE 'changed' END AS what,
    CASE WHEN f.field <> 'whole' THEN f.field END AS field,
    f.value AS old_value,
    g.value AS new_value,
    (
        SELECT COUNT(*)
        FROM kr_flow_stat AS l
        WHERE l.task_id = a.task_id
            AND l.version_id = a.version_id
            AND l.flow_status IN (0, 1, 2)
            AND (
                f.part = 'workflow'
                OR EXISTS (
                    SELECT 1
                    FROM kr_task_stat AS t
                    WHERE t.task_flow_id = l.task_flow_id AND t.task_seq = f.task_seq AND t.exec_status IN (0, 1, 2)
                )
            )
    ) AS live_flows
FROM ms_workflow_version AS a
JOIN ms_workflow_version AS b ON b.task_id = a.task_id AND b.version_id <> a.version_id
JOIN v_workflow_version_field AS f ON f.version_id = a.version_id
LEFT JOIN v_workflow_version_field AS g
    ON g.version_id = b.version_id AND g.part = f.part AND g.task_seq = f.task_seq AND g.field = f.field
LEFT JOIN v_workflow_version_field AS h
    ON h.version_id = b.version_id AND h.part = f.part AND h.task_seq = f.task_seq AND h.field = 'whole'
WHERE (f.field = 'whole' AND g.field IS NULL)
    OR (f.field <> 'whole' AND h.field IS NOT NULL AND (g.field IS NULL OR g.value <> f.value))
UNION ALL
SELECT a.version_id,
    b.version_id,
    a.task_id,
    CASE WHEN g.part = 'step' THEN g.task_seq END,
    CASE WHEN g.field = 'whole' THEN 'step added' ELSE 'added' END,
    CASE WHEN g.field <> 'whole' THEN g.field END,
    NULL,
    g.value,
    (
        SELECT COUNT(*)
        FROM kr_flow_stat AS l
        WHERE l.task_id = a.task_id
            AND l.version_id = a.version_id
            AND l.flow_status IN (0, 1, 2)
            AND (
                g.part = 'workflow'
                OR g.field = 'whole'
                OR EXISTS (
                    SELECT 1
                    FROM kr_task_stat AS t
                    WHERE t.task_flow_id = l.task_flow_id AND t.task_seq = g.task_seq AND t.exec_status IN (0, 1, 2)
                )
            )
    )
FROM ms_workflow_version AS a
JOIN ms_workflow_version AS b ON b.task_id = a.task_id AND b.version_id <> a.version_id
JOIN v_workflow_version_field AS g ON g.version_id = b.version_id
LEFT JOIN v_workflow_version_field AS f
    ON f.version_id = a.version_id AND f.part = g.part AND f.task_seq = g.task_seq AND f.field = g.field
LEFT JOIN v_workflow_version_field AS h
    ON h.version_id = a.version_id AND h.part = g.part AND h.task_seq = g.task_seq AND h.field = 'whole'
WHERE f.field IS NULL AND (g.field = 'whole' OR h.field IS NOT NULL);
