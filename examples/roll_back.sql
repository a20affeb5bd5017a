-- A roll-back: the payment fails, so the flight and then the hotel are cancelled.
INSERT INTO ms_workflow(task_id, failure_policy) VALUES ('roll_back', 'rollback');

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('roll_back', 1, 'Value', 'VALUE', '"H-1"'),
       ('roll_back', 2, 'Value', 'VALUE', '"F-2"'),
       ('roll_back', 3, 'FailForTrials', 'MESSAGE', 'no funds'),
       ('roll_back', 4, 'Noop', NULL, NULL);

INSERT INTO ms_task_option(task_id, task_seq, name, rollback_program, rollback_parameters)
VALUES ('roll_back', 1, 'hotel', 'Value', '{"VALUE": "hotel cancelled"}'),
       ('roll_back', 2, 'flight', 'Value', '{"VALUE": "flight cancelled"}');
