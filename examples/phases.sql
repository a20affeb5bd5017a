-- Before and after a step: `render` runs between mounting and unmounting, and `send` after all of that.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('phases', 1, 'Noop'),
       ('phases', 2, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, name, pre_program, pre_parameters, post_program)
VALUES ('phases', 1, 'render', 'Value', '{"VALUE": "mounted"}', 'Noop'),
       ('phases', 2, 'send', NULL, NULL, NULL);
