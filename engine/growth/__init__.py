"""Flows that grow while they run: plans, loops, sub-flows."""
