-- A loop: step 2 decides whether step 1 is done again. Three rounds, then step 3: `iteration` counts from 0.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('loop', 1, 'Noop'), ('loop', 2, 'Noop'), ('loop', 3, 'Noop');

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind, only_if, max_iterations)
VALUES ('loop', 2, 1, NULL, NULL, NULL),
       ('loop', 3, 2, NULL, NULL, NULL),
       ('loop', 1, 2, 'loop', 'iteration < 2', 10);
