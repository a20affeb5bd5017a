-- What live watchers take: a row for each queue and program of one. A watcher that takes nothing more has none.
-- The pattern lets only a list of texts be read as one: a row that a person has touched must not fail the others.
CREATE VIEW v_offer AS
SELECT w.watcher_id, q.queue COLLATE "C" AS queue, p.program COLLATE "C" AS program
FROM kr_watcher AS w
CROSS JOIN LATERAL unnest(string_to_array(w.queues, ',')) AS q(queue)
LEFT JOIN LATERAL json_array_elements_text(
    CASE
        WHEN w.programs ~ '^\[("([^"\\[:cntrl:]]|\\["\\/bfnrt])*"(, ?"([^"\\[:cntrl:]]|\\["\\/bfnrt])*")*)?\]$'
            THEN w.programs::json
        ELSE '[]'::json
    END
) AS p(program) ON true
WHERE w.state = 'running'
    AND w.wanted IS NULL
    AND w.lease_until_ts > (SELECT now_ts FROM v_clock)
    AND w.beat_ts <= (SELECT ahead_ts FROM v_clock);
