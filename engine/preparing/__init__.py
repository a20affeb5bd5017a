"""What a task is given when it begins: templates rendered, mappings worked out, the flow's parameters merged in."""
