"""Who waits for whom, and what the end of a task means for those behind it."""
