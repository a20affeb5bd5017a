-- What live watchers take: a row for each queue and program of one. A watcher that takes nothing more has none.
CREATE VIEW v_offer AS
SELECT w.watcher_id, q.queue, p.program
FROM kr_watcher AS w
JOIN JSON_TABLE(
    CONCAT('[', REPLACE(JSON_QUOTE(w.queues), ',', '","'), ']'),
    '$[*]' COLUMNS (queue VARCHAR(64) PATH '$')
) AS q
LEFT JOIN JSON_TABLE(
    CASE WHEN JSON_VALID(w.programs) THEN w.programs ELSE '[]' END,
    '$[*]' COLUMNS (program VARCHAR(256) PATH '$')
) AS p ON TRUE
WHERE w.state = 'running'
    AND w.wanted IS NULL
    AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
    AND w.beat_ts <= (SELECT ahead_ts FROM v_clock);
