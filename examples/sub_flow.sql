-- A workflow as a step of another: the second step runs `sub_flow_load` as a flow of its own and waits for it.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('sub_flow', 1, 'Noop'), ('sub_flow', 2, 'SubFlow'), ('sub_flow', 3, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, parameters)
VALUES ('sub_flow', 2, '{"WORKFLOW": "sub_flow_load", "PARAMETERS": {"SLEEP_TIME_SECOND": 0.2}, "RUN_KEY": "2030-01"}');

INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('sub_flow_load', 1, 'EchoParamTimeSleep', 'SLEEP_TIME_SECOND', '1'),
       ('sub_flow_load', 2, 'Gather', NULL, NULL);
