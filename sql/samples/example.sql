-- The sample workflow: wait a random moment, wait a given one, post JSON to a server.
-- `penstock up` and the compose file load it; `make demo` points its third step at a server of its own.
INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority)
VALUES ('example', 1, 'EchoRandomTimeSleep', 0);

INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority, param1_key, param1_value)
VALUES ('example', 2, 'EchoParamTimeSleep', 0, 'SLEEP_TIME_SECOND', '3');

INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority, param1_key, param1_value, param2_key, param2_value)
VALUES ('example', 3, 'HTTPPostRequest', 0, 'URL', 'http://127.0.0.1:8000/echo', 'BODY', '{"id": "test"}');
