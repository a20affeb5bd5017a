-- A failure that somebody listens to: the alarm goes off at once, and the flow still waits for the repair of step 2,
-- which step 4 is to follow.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('alarm', 1, 'Noop'),
       ('alarm', 2, 'FailForTrials'),
       ('alarm', 3, 'Noop'),               -- the alarm
       ('alarm', 4, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, trigger_rule)
VALUES ('alarm', 3, 'one_failed');

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('alarm', 3, 1), ('alarm', 3, 2), ('alarm', 4, 2);
