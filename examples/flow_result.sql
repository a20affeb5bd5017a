-- The result of a flow, worked out of those of its steps when it has ended; defaults of the workflow fill its parameters.
INSERT INTO ms_workflow(task_id, parameters, parameter_schema, result_mapping)
VALUES ('flow_result', '{"currency": "EUR"}', '{"properties": {"currency": {"enum": ["EUR", "CHF"]}}}',
        '{"total": "results.order.amount * 2", "currency": "params.currency"}');

INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('flow_result', 1, 'Value'),
       ('flow_result', 2, 'Noop');

INSERT INTO ms_task_option(task_id, task_seq, name, parameters)
VALUES ('flow_result', 1, 'order', '{"VALUE": {"amount": 21}}');
