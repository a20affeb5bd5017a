-- A message. The first step waits until somebody sends the message `paid` for `order-7`, at most a day; what it carries is
-- the result of the step. It may come before the step begins. Send it with engine.waiting.messages.send, or by SQL:
--   INSERT INTO kr_message(message_id, name, correlation_key, payload, sent_ts)
--   VALUES ('any new id', 'paid', 'order-7', '{"sum": 120}', CURRENT_TIMESTAMP);
INSERT INTO ms_task_definition(
    task_id, task_seq, program, param1_key, param1_value, param2_key, param2_value, param3_key, param3_value)
VALUES ('message', 1, 'WaitForMessage', 'NAME', 'paid', 'KEY', 'order-7', 'TIMEOUT_S', '86400'),
       ('message', 2, 'Noop', NULL, NULL, NULL, NULL, NULL, NULL);
