"""Outcome -> next status, step by step."""
