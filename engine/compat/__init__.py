"""What Penstock's forerunners call things, in terms of flows and tasks."""
