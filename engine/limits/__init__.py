"""How many tasks and flows at once, how fast, and who comes first."""
