-- Limits: three steps could run side by side, but there is one printer in each office, over all flows and watchers.
INSERT INTO ms_limit(scope, name, max_running) VALUES ('key', 'printer in Basel', 1), ('key', 'printer in Bern', 1);

INSERT INTO ms_workflow(task_id, parameters) VALUES ('limits', '{"office": "Basel"}');

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('limits', 1, 'Noop', NULL, NULL),
       ('limits', 2, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2'),
       ('limits', 3, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2'),
       ('limits', 4, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '0.2');

INSERT INTO ms_task_option(task_id, task_seq, limit_key)
VALUES ('limits', 2, 'printer in {params.office}'),
       ('limits', 3, 'printer in {params.office}'),
       ('limits', 4, 'printer in {params.office}');

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('limits', 2, 1), ('limits', 3, 1), ('limits', 4, 1);
