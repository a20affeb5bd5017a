"""HTTP: a definition becomes a flow, and flows are read and recovered. Uses the engine and no other room."""
