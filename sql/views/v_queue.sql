-- Queues that anything is known of: what is ready and what runs, live watchers, limit and pause.
CREATE VIEW v_queue AS
SELECT n.queue,
    SUM(n.ready) AS ready,
    SUM(n.running) AS running,
    MIN(n.oldest_ts) AS oldest_ts,
    SUM(n.watchers) AS watchers,
    MAX(l.max_running) AS max_running,
    MAX(l.rate) AS rate,
    MAX(CASE WHEN l.rate IS NOT NULL THEN l.rate_period_s END) AS rate_period_s,
    MAX(CASE WHEN s.free_at_ts > (SELECT now_ts FROM v_clock) THEN s.free_at_ts END) AS free_at_ts,
    MAX(l.paused_ts) AS paused_ts,
    MAX(l.paused_by) AS paused_by,
    MAX(l.paused_reason) AS paused_reason
FROM (
    SELECT t.queue, COUNT(*) AS ready, 0 AS running, MIN(t.registered_ts) AS oldest_ts, 0 AS watchers
    FROM kr_task_stat AS t
    WHERE t.exec_status = 0 AND t.wait_count = 0
    GROUP BY t.queue
    UNION ALL
    SELECT t.queue, 0, COUNT(*), NULL, 0
    FROM kr_task_stat AS t
    WHERE t.exec_status = 1
    GROUP BY t.queue
    UNION ALL
    SELECT o.queue, 0, 0, NULL, COUNT(DISTINCT o.watcher_id)
    FROM v_offer AS o
    GROUP BY o.queue
    UNION ALL
    SELECT p.name, 0, 0, NULL, 0
    FROM ms_limit AS p
    WHERE p.scope = 'queue'
) AS n
LEFT JOIN ms_limit AS l ON l.scope = 'queue' AND l.name = n.queue
LEFT JOIN kr_limit AS s ON s.scope = 'queue' AND s.name = n.queue AND l.rate IS NOT NULL
GROUP BY n.queue;
