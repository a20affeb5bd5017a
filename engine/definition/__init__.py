"""A definition: read, checked, numbered, and copied into the rows of a flow."""
