-- Watchers: whether each is alive, and how many tasks it holds.
CREATE VIEW v_watcher AS
SELECT w.watcher_id,
    w.label,
    w.host,
    w.pid,
    w.queues,
    w.programs,
    w.slots,
    CASE
        WHEN w.state = 'stopped' THEN 'STOPPED'
        WHEN w.lease_until_ts <= c.now_ts OR w.beat_ts > c.ahead_ts THEN 'SILENT'
        WHEN w.state <> 'running' OR w.wanted IS NOT NULL THEN 'DRAINING'
        ELSE 'LIVE'
    END AS status,
    (SELECT COUNT(*) FROM kr_task_stat AS t WHERE t.exec_status = 1 AND t.owner = w.watcher_id) AS running,
    w.wanted,
    w.started_ts,
    w.beat_ts,
    w.lease_until_ts
FROM kr_watcher AS w
CROSS JOIN v_clock AS c;
