-- A time. The second step begins half a second after the first task began; no worker is held meanwhile. Longer ones are
-- written alike: PT2H, P1M (a month of the calendar), or UNTIL = '2030-01-31T09:00:00+01:00'.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('timer', 1, 'Wait', 'DURATION', 'PT0.5S'),
       ('timer', 2, 'Noop', NULL, NULL);
