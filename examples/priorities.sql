-- Priorities: of the steps that are ready, the one with the smallest number begins first: here 4, then 3, then 2.
INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority)
VALUES ('priorities', 1, 'Noop', 0),
       ('priorities', 2, 'Noop', 19),
       ('priorities', 3, 'Noop', 0),
       ('priorities', 4, 'Noop', -20);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('priorities', 2, 1), ('priorities', 3, 1), ('priorities', 4, 1);
