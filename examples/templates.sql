-- Templates: the parameters of the second step are made of the run key (a date) and of what the first step found.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('templates', 1, 'Value'), ('templates', 2, 'Value');

INSERT INTO ms_task_option(task_id, task_seq, name, parameters)
VALUES ('templates', 1, 'count', '{"VALUE": {"rows": 12}}'),
       ('templates', 2, 'report',
        '{"VALUE": {"file": "sales-{{ ds }}.csv", "since": "{{ date | minus(months=1) }}", "rows": "{{ results.count.rows }}"}}');
