-- The database's time as the tables write it, in UTC; and the furthest that a heartbeat may be ahead of it.
CREATE VIEW v_clock AS
SELECT UTC_TIMESTAMP(6) AS now_ts, UTC_TIMESTAMP(6) + INTERVAL 2 SECOND AS ahead_ts;
