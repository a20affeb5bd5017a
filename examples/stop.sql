-- A failure stops the flow: step 2 never begins, but the clean-up of step 3 runs.
INSERT INTO ms_workflow(task_id, failure_policy) VALUES ('stop', 'stop');

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('stop', 1, 'FailForTrials', 'MESSAGE', 'the disk is full'),
       ('stop', 2, 'Noop', NULL, NULL),
       ('stop', 3, 'Noop', NULL, NULL);

INSERT INTO ms_task_option(task_id, task_seq, name, trigger_rule)
VALUES ('stop', 3, 'tidy', 'cleanup');

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('stop', 2, 1), ('stop', 3, 1);
