-- Tries after a failure. The first step fails twice and succeeds at its third try, a second and two seconds later.
INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value)
VALUES ('retries', 1, 'FailForTrials', 'FAIL_UNTIL_ATTEMPT', '3');

INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('retries', 2, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, max_attempts, retry_delay_s, retry_backoff)
VALUES ('retries', 1, 3, 0.5, 2);
