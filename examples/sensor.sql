-- A sensor. The first step asks a service every half second until it answers, holds no worker in between, and fails after
-- a minute.
INSERT INTO ms_task_definition(
    task_id, task_seq, program, param1_key, param1_value, param2_key, param2_value, param3_key, param3_value)
VALUES ('sensor', 1, 'WaitForHTTP', 'URL', 'http://127.0.0.1:8000/healthz', 'EVERY_S', '0.5', 'TIMEOUT_S', '60'),
       ('sensor', 2, 'Noop', NULL, NULL, NULL, NULL, NULL, NULL);
