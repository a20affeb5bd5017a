-- The database's time as the tables write it; and the furthest that a heartbeat may be ahead of it.
CREATE VIEW v_clock AS
SELECT clock_timestamp() AS now_ts, clock_timestamp() + INTERVAL '2 seconds' AS ahead_ts;
