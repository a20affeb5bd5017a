-- One flow at a time: a second registration is accepted, and waits its turn until the first flow has ended.
INSERT INTO ms_workflow(task_id, max_active_flows, on_limit) VALUES ('one_at_a_time', 1, 'queue');

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('one_at_a_time', 1, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2'),
       ('one_at_a_time', 2, 'Noop', NULL, NULL);
