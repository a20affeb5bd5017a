-- An edge for errors: step 1 fails, step 3 makes good for it, and nobody has to look.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('error_edge', 1, 'FailForTrials', 'MESSAGE', 'E42: no paper'),
       ('error_edge', 2, 'Noop', NULL, NULL),
       ('error_edge', 3, 'Noop', NULL, NULL),
       ('error_edge', 4, 'Noop', NULL, NULL);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind, only_if)
VALUES ('error_edge', 2, 1, NULL, NULL),
       ('error_edge', 3, 1, 'error', 'error.message.startsWith("E42")'),
       ('error_edge', 4, 2, NULL, NULL),
       ('error_edge', 4, 3, NULL, NULL);
