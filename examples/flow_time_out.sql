-- Time for a flow: nobody approves within a second, so the whole flow is cancelled, with the reason `timed out`.
INSERT INTO ms_workflow(task_id, timeout_s) VALUES ('flow_time_out', 1);

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('flow_time_out', 1, 'Noop', NULL, NULL),
       ('flow_time_out', 2, 'Approval', 'PROMPT', 'Is it worth it?'),
       ('flow_time_out', 3, 'Noop', NULL, NULL);
