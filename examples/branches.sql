-- Branches and a join: 1 before 2 and 3, both before 4.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('branches', 1, 'Noop', NULL, NULL),
       ('branches', 2, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2'),
       ('branches', 3, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2'),
       ('branches', 4, 'Noop', NULL, NULL);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('branches', 2, 1), ('branches', 3, 1), ('branches', 4, 2), ('branches', 4, 3);
