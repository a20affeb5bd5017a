-- A call-back: a service is asked, and calls back when it is ready; no worker is held meanwhile. The program is in
-- call_back.py; its service answers in Python with engine.waiting.answers.call_back, showing the token that it was sent. A
-- service on this machine is to be allowed: penstock up --http-network 127.0.0.1:8080
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('call_back', 1, 'AskScanner', 'URL', 'http://127.0.0.1:8080/scan'),
       ('call_back', 2, 'Noop', NULL, NULL);
