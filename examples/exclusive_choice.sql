-- An exclusive choice: large orders are approved, all others are shipped at once; both are invoiced.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('exclusive_choice', 1, 'Value'),   -- the order
       ('exclusive_choice', 2, 'Noop'),    -- approve
       ('exclusive_choice', 3, 'Noop'),    -- ship
       ('exclusive_choice', 4, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, name, parameters)
VALUES ('exclusive_choice', 1, 'order', '{"VALUE": {"amount": 250}}'),
       ('exclusive_choice', 2, 'approve', NULL),
       ('exclusive_choice', 3, 'ship', NULL),
       ('exclusive_choice', 4, 'invoice', NULL);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, only_if, is_default)
VALUES ('exclusive_choice', 2, 1, 'result.amount > 1000', NULL),
       ('exclusive_choice', 3, 1, NULL, TRUE),
       ('exclusive_choice', 4, 2, NULL, NULL),
       ('exclusive_choice', 4, 3, NULL, NULL);
