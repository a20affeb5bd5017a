-- Mappings: what the second step is given is worked out of the order, and what is kept of its result has another name.
INSERT INTO ms_task_definition(task_id, task_seq, program)
VALUES ('mappings', 1, 'Value'), ('mappings', 2, 'Value');

INSERT INTO ms_task_option(task_id, task_seq, name, parameters, input_mapping, output_mapping)
VALUES ('mappings', 1, 'order', '{"VALUE": {"net": 100, "tax": 8}}', NULL, NULL),
       ('mappings', 2, 'price', NULL, '{"VALUE": "results.order.net + results.order.tax"}', '{"gross": "result"}');
