-- What live watchers take: a row for each queue and program of one. A watcher that takes nothing more has none.
-- The lists are cut at their commas: SQLite lets no view ask whether a text is JSON where schemas are not trusted, and a
-- row that a person has touched must not fail the others.
CREATE VIEW v_offer AS
WITH RECURSIVE live(watcher_id, queues, programs) AS (
    SELECT w.watcher_id, w.queues, replace(w.programs, '", "', '","')
    FROM kr_watcher AS w
    WHERE w.state = 'running'
        AND w.wanted IS NULL
        AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
        AND w.beat_ts <= (SELECT ahead_ts FROM v_clock)
),
queues(watcher_id, queue, rest) AS (
    SELECT watcher_id, NULL, queues || ','
    FROM live
    UNION ALL
    SELECT watcher_id, substr(rest, 1, instr(rest, ',') - 1), substr(rest, instr(rest, ',') + 1)
    FROM queues
    WHERE rest <> ''
),
programs(watcher_id, program, rest) AS (
    SELECT watcher_id, NULL, substr(programs, 3, length(programs) - 4) || '","'
    FROM live
    WHERE programs GLOB '[[]"*"]'
    UNION ALL
    SELECT watcher_id, substr(rest, 1, instr(rest, '","') - 1), substr(rest, instr(rest, '","') + 3)
    FROM programs
    WHERE rest <> ''
)
SELECT q.watcher_id, q.queue, replace(replace(p.program, '\"', '"'), '\\', '\') AS program
FROM queues AS q
LEFT JOIN programs AS p ON p.watcher_id = q.watcher_id AND p.program IS NOT NULL
WHERE q.queue IS NOT NULL;
