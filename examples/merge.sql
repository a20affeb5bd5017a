-- A merge without a join: two sources are asked at the same time, and the first answer is enough.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('merge', 1, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.1'),
       ('merge', 2, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '3'),
       ('merge', 3, 'Noop', NULL, NULL);

INSERT INTO ms_task_option(task_id, task_seq, trigger_rule)
VALUES ('merge', 3, 'any');

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('merge', 3, 1), ('merge', 3, 2);
