-- Time for a try: the first step takes too long, twice, and the edge for time-outs leads to the third.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('time_out', 1, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '30'),
       ('time_out', 2, 'Noop', NULL, NULL),
       ('time_out', 3, 'Noop', NULL, NULL);

INSERT INTO ms_task_option(task_id, task_seq, timeout_s, max_attempts, retry_delay_s)
VALUES ('time_out', 1, 0.3, 2, 0.1);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind)
VALUES ('time_out', 2, 1, NULL),
       ('time_out', 3, 1, 'timeout');
