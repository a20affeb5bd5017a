-- The database's time as the tables write it, in UTC; and the furthest that a heartbeat may be ahead of it.
CREATE VIEW v_clock AS
SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') || '000' AS now_ts,
    strftime('%Y-%m-%d %H:%M:%f', 'now', '+2 seconds') || '000' AS ahead_ts;
