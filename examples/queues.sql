-- Queues: the second step is run by watchers of the queue `reports` alone (`penstock watch --queue reports`).
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('queues', 1, 'Noop'), ('queues', 2, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, queue) VALUES ('queues', 2, 'reports');
