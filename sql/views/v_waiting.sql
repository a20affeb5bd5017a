-- Why each task that is not over is where it is: a row for each task and cause. Narrow it by task_flow_id.
CREATE VIEW v_waiting AS
-- the earlier task of its own row is not over, or has not told it yet; what kr_task_edge says of the same edge goes first
SELECT t.task_flow_id,
    t.task_exec_seq,
    t.task_id,
    t.task_seq,
    t.name,
    t.program,
    t.queue,
    t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END AS status,
    t.reason,
    'dependency' AS cause,
    t.registered_ts AS since_ts,
    NULLIF(t.due_ts, t.due_ts) AS until_ts,
    NULLIF(t.owner, t.owner) AS by_whom,
    t.task_flow_id AS needs_flow_id,
    t.depends_task_exec_seq AS needs_exec_seq,
    CASE
        WHEN p.exec_status = 0 THEN 'WAIT' WHEN p.exec_status = 1 THEN 'RUNNING' WHEN p.exec_status = 2 THEN 'SUSPEND'
        WHEN p.exec_status = 3 THEN 'FINISH' WHEN p.exec_status = 9 THEN 'IGNORE' ELSE 'MISSING'
    END AS needs_status,
    NULLIF(t.claim_id, t.claim_id) AS wait_id,
    NULLIF(t.name, t.name) AS wait_name,
    NULLIF(t.name, t.name) AS wait_key,
    NULLIF(t.reason, t.reason) AS limit_scope,
    NULLIF(t.name, t.name) AS limit_name,
    NULLIF(t.claims, t.claims) AS limit_most,
    NULLIF(t.claims, t.claims) AS limit_running,
    NULLIF(t.owner, t.owner) AS watcher_id,
    NULLIF(t.error, t.error) AS details,
    'that task must end: let it run, mend it, or finish or ignore it by hand' AS remedy
FROM kr_task_stat AS t
LEFT JOIN kr_task_stat AS p ON p.task_flow_id = t.task_flow_id AND p.task_exec_seq = t.depends_task_exec_seq
LEFT JOIN kr_task_edge AS e
    ON e.task_flow_id = t.task_flow_id
    AND e.task_exec_seq = t.task_exec_seq
    AND e.depends_task_exec_seq = t.depends_task_exec_seq
    AND (e.kind IS NULL OR e.kind <> 'loop')
WHERE t.exec_status IN (0, 2)
    AND t.wait_count > 0
    AND t.depends_task_exec_seq > 0
    AND (
        p.exec_status IS NULL
        OR p.exec_status NOT IN (3, 9)
        OR ((p.wait_count IS NULL OR p.wait_count <> -1) AND (p.reason IS NULL OR p.reason <> 'superseded'))
    )
    AND e.task_flow_id IS NULL
UNION ALL
-- the same of an edge in kr_task_edge; of one with a condition or a default, until its outcome is written down
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    'dependency',
    t.registered_ts,
    NULL,
    NULL,
    e.task_flow_id,
    e.depends_task_exec_seq,
    CASE
        WHEN p.exec_status = 0 THEN 'WAIT' WHEN p.exec_status = 1 THEN 'RUNNING' WHEN p.exec_status = 2 THEN 'SUSPEND'
        WHEN p.exec_status = 3 THEN 'FINISH' WHEN p.exec_status = 9 THEN 'IGNORE' ELSE 'MISSING'
    END,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'that task must end: let it run, mend it, or finish or ignore it by hand'
FROM kr_task_stat AS t
JOIN kr_task_edge AS e ON e.task_flow_id = t.task_flow_id AND e.task_exec_seq = t.task_exec_seq
LEFT JOIN kr_task_stat AS p ON p.task_flow_id = e.task_flow_id AND p.task_exec_seq = e.depends_task_exec_seq
WHERE t.exec_status IN (0, 2)
    AND t.wait_count > 0
    AND e.outcome IS NULL
    AND (e.kind IS NULL OR e.kind <> 'loop')
    AND (
        p.exec_status IS NULL
        OR p.exec_status NOT IN (3, 9)
        OR (
            (p.reason IS NULL OR p.reason <> 'superseded')
            AND (
                p.wait_count IS NULL
                OR p.wait_count <> -1
                OR e.only_if IS NOT NULL
                OR e.is_default
                OR e.kind IN ('error', 'timeout')
            )
        )
    )
UNION ALL
-- open waits: timer, message, approval, form, callback, flow, turn; a poke is a time limit, and nothing awaited
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    w.kind,
    w.created_ts,
    w.due_ts,
    NULL,
    CASE WHEN w.kind = 'flow' THEN w.correlation_key END,
    NULL,
    CASE f.flow_status
        WHEN 0 THEN 'WAIT' WHEN 1 THEN 'RUNNING' WHEN 2 THEN 'SUSPEND' WHEN 3 THEN 'FINISH' WHEN 9 THEN 'IGNORE'
    END,
    w.wait_id,
    w.name,
    w.correlation_key,
    NULL, NULL, NULL, NULL, NULL,
    w.details,
    CASE w.kind
        WHEN 'timer' THEN 'its time must come; due_ts of kr_wait may be set to a time that is past'
        WHEN 'message' THEN 'send a message of that name and key'
        WHEN 'approval' THEN 'answer it with yes or no'
        WHEN 'form' THEN 'fill in the form'
        WHEN 'callback' THEN 'whoever was given the token must call back'
        WHEN 'flow' THEN 'the sub-flow must end: look why it has not'
        WHEN 'turn' THEN 'a flow of the workflow must end, or max_active_flows of ms_workflow be raised'
        ELSE 'what it waits for must come'
    END
FROM kr_task_stat AS t
JOIN kr_wait AS w ON w.task_flow_id = t.task_flow_id AND w.task_exec_seq = t.task_exec_seq
LEFT JOIN kr_flow_stat AS f ON w.kind = 'flow' AND f.task_flow_id = w.correlation_key
WHERE t.exec_status IN (0, 2) AND w.state = 'open' AND w.kind <> 'poke'
UNION ALL
-- a time: the next try, the next look of a sensor, or one that was set by hand
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status,
    CASE t.exec_status WHEN 0 THEN 'WAIT' ELSE 'SUSPEND' END,
    t.reason,
    CASE t.reason WHEN 'retry' THEN 'retry' WHEN 'again' THEN 'poke' ELSE 'due' END,
    t.started_ts,
    t.due_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.error,
    CASE t.reason
        WHEN 'retry' THEN 'its time must come: then it is tried again; due_ts may be set to a time that is past'
        WHEN 'again' THEN 'its time must come: then it looks again; due_ts may be set to a time that is past'
        ELSE 'its time must come; due_ts may be set to a time that is past'
    END
FROM kr_task_stat AS t
WHERE t.exec_status IN (0, 2) AND t.due_ts IS NOT NULL AND t.wait_count > 0
UNION ALL
-- a row that was made or set back by hand, and that no watcher has taken in yet
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'by hand',
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'a watcher takes the row in within a poll: start one if none runs'
FROM kr_task_stat AS t
WHERE t.exec_status = 0 AND (t.wait_count IS NULL OR t.wait_count < 0)
UNION ALL
-- nothing is awaited: it stands in its queue
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'queued',
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'a worker must become free; a smaller task_priority puts it ahead of others'
FROM kr_task_stat AS t
WHERE t.exec_status = 0 AND t.wait_count = 0
UNION ALL
-- ready, and a limit or a pause of its workflow, its queue or its key lets nothing more start
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    CASE
        WHEN t.paused_ts IS NOT NULL THEN 'paused'
        WHEN t.limit_running >= t.max_running THEN 'limit'
        ELSE 'rate'
    END,
    t.paused_ts,
    CASE
        WHEN t.paused_ts IS NULL AND (t.max_running IS NULL OR t.limit_running < t.max_running) THEN t.free_at_ts
    END,
    t.paused_by,
    NULL, NULL, NULL, NULL, NULL, NULL,
    t.scope,
    t.limit_name,
    t.max_running,
    t.limit_running,
    NULL,
    t.paused_reason,
    CASE
        WHEN t.paused_ts IS NOT NULL THEN 'resume the queue or the workflow; of a key, set paused_ts of ms_limit to NULL'
        WHEN t.max_running = 0 THEN 'the limit is 0, which is a pause: raise it or drop it'
        WHEN t.limit_running >= t.max_running THEN 'a task that counts against the limit must end, or the limit be raised'
        ELSE 'its time must come, or the rate be raised'
    END
FROM (
    SELECT r.*,
        l.scope,
        CASE WHEN l.scope = 'key' THEN r.limit_key ELSE l.name END AS limit_name,
        l.max_running,
        l.rate,
        l.paused_ts,
        l.paused_by,
        l.paused_reason,
        s.free_at_ts,
        (
            SELECT COUNT(*)
            FROM kr_task_stat AS x
            WHERE x.exec_status = 1
                AND (
                    (l.scope = 'workflow' AND x.task_id = r.task_id)
                    OR (l.scope = 'queue' AND x.queue = r.queue)
                    OR (l.scope = 'key' AND x.limit_key = r.limit_key)
                )
        ) AS limit_running
    FROM (
        SELECT y.task_flow_id, y.task_exec_seq, y.task_id, y.task_seq, y.name, y.program, y.queue, y.exec_status,
            y.reason, y.limit_key
        FROM kr_task_stat AS y
        WHERE y.exec_status = 0 AND y.wait_count = 0
    ) AS r
    JOIN ms_limit AS l
        ON (l.scope = 'workflow' AND l.name = r.task_id)
        OR (l.scope = 'queue' AND l.name = r.queue)
        OR (l.scope = 'key' AND l.name = r.limit_key)
        OR (
            l.scope = 'key'
            AND l.name = '*'
            AND r.limit_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM ms_limit AS o WHERE o.scope = 'key' AND o.name = r.limit_key)
        )
    LEFT JOIN kr_limit AS s
        ON s.scope = l.scope
        AND s.name = CASE WHEN l.scope = 'key' THEN r.limit_key ELSE l.name END
) AS t
WHERE t.paused_ts IS NOT NULL
    OR t.limit_running >= t.max_running
    OR (t.rate IS NOT NULL AND t.free_at_ts > (SELECT now_ts FROM v_clock))
UNION ALL
-- ready, and nobody who is alive would take it
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    CASE WHEN t.queue IN (SELECT o.queue FROM v_offer AS o) THEN 'no program' ELSE 'no watcher' END,
    t.registered_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'start a watcher that serves the queue and has the program'
FROM kr_task_stat AS t
WHERE t.exec_status = 0
    AND t.wait_count = 0
    AND (t.queue, t.program) NOT IN (SELECT o.queue, o.program FROM v_offer AS o WHERE o.program IS NOT NULL)
UNION ALL
-- exclusive, set back to 0 while it ran: the former run must have stopped first
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'WAIT',
    t.reason,
    'exclusive',
    t.started_ts,
    w.lease_until_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    w.watcher_id,
    NULL,
    'its former run must stop: its watcher ends it'
FROM kr_task_stat AS t
JOIN kr_watcher AS w ON w.watcher_id = t.owner
WHERE t.exec_status = 0
    AND t.wait_count = 0
    AND t.is_exclusive
    AND t.reason IS NULL
    AND t.suspended_ts IS NULL
    AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
    AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
UNION ALL
-- running, under a lease or after its end
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'RUNNING',
    t.reason,
    CASE
        WHEN w.lease_until_ts > (SELECT now_ts FROM v_clock) AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
            THEN 'running'
        ELSE 'silent'
    END,
    t.started_ts,
    w.lease_until_ts,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.owner,
    NULL,
    CASE
        WHEN w.lease_until_ts > (SELECT now_ts FROM v_clock) AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
            THEN 'its program must end'
        ELSE 'another watcher takes it back: start one if none runs'
    END
FROM kr_task_stat AS t
LEFT JOIN kr_watcher AS w ON w.watcher_id = t.owner
WHERE t.exec_status = 1
UNION ALL
-- suspended: by a person, or because a person is needed
SELECT t.task_flow_id, t.task_exec_seq, t.task_id, t.task_seq, t.name, t.program, t.queue, t.exec_status, 'SUSPEND',
    t.reason,
    'suspended',
    t.suspended_ts,
    NULL,
    (
        SELECT a.actor
        FROM kr_event AS a
        WHERE t.reason = 'paused by hand'
            -- not ORDER BY with LIMIT 1: for that, MariaDB may read the events of all flows backwards
            AND a.event_id = (
                SELECT max(e.event_id)
                FROM kr_event AS e
                WHERE e.task_flow_id = t.task_flow_id
                    AND e.task_exec_seq = t.task_exec_seq
                    AND e.what IN ('task paused', 'task paused by hand')
            )
    ),
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    t.error,
    CASE
        WHEN t.reason = 'paused by hand' THEN 'resume it'
        WHEN t.reason = 'flow stopped' THEN 'mend the task that failed, then recover the flow'
        ELSE 'mend the cause, then retry it or recover the flow; or finish or ignore it by hand'
    END
FROM kr_task_stat AS t
WHERE t.exec_status = 2;
