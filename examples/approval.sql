-- A person. The first step asks ann or bob, the second anybody, with a form; their answers are the results of the steps.
-- Answer from Python with engine.waiting.answers.answer, or by SQL:
--   UPDATE kr_wait SET payload = '{"approved": true}', closed_by = 'ann', due_ts = created_ts
--    WHERE wait_id = '...' AND state = 'open';
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value, param2_key, param2_value)
VALUES ('approval', 1, 'Approval', 'PROMPT', 'Load the rows of May?', 'CANDIDATES', '["ann", "bob"]'),
       ('approval', 2, 'Form', 'PROMPT', 'How many rows were there?', 'SCHEMA',
        '{"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}'),
       ('approval', 3, 'Noop', NULL, NULL, NULL, NULL);
