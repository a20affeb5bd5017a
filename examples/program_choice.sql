-- A program chooses which of the steps behind it run, by name or by task_seq.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('program_choice', 1, 'ChooseSteps'),
       ('program_choice', 2, 'Noop'),
       ('program_choice', 3, 'Noop'),
       ('program_choice', 4, 'Noop'),
       ('program_choice', 5, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, name, parameters)
VALUES ('program_choice', 1, 'decide', '{"STEPS": ["by mail", 4]}'),
       ('program_choice', 2, 'by mail', NULL),
       ('program_choice', 3, 'by phone', NULL),
       ('program_choice', 4, 'by letter', NULL),
       ('program_choice', 5, 'done', NULL);

INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq)
VALUES ('program_choice', 2, 1), ('program_choice', 3, 1), ('program_choice', 4, 1),
       ('program_choice', 5, 2), ('program_choice', 5, 3), ('program_choice', 5, 4);
