-- What live watchers take: a row for each queue and program of one. A watcher that takes nothing more has none.
CREATE VIEW v_offer AS
SELECT w.watcher_id, q.value AS queue, p.value AS program
FROM kr_watcher AS w
JOIN json_each('[' || replace(json_quote(w.queues), ',', '","') || ']') AS q
LEFT JOIN json_each(CASE WHEN json_valid(w.programs) THEN w.programs ELSE '[]' END) AS p
WHERE w.state = 'running'
    AND w.wanted IS NULL
    AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
    AND w.beat_ts <= (SELECT ahead_ts FROM v_clock);
