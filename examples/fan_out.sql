-- One task for each item of a list, side by side, and a join that gets their results in order.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('fan_out', 1, 'ForEach'), ('fan_out', 2, 'Gather');

INSERT INTO ms_task_option(task_id, task_seq, parameters)
VALUES ('fan_out', 1, '{"ITEMS": [0.1, 0.2, 0.1], "PROGRAM": "EchoParamTimeSleep", "ITEM_KEY": "SLEEP_TIME_SECOND"}');
