"""Expressions over JSON data, and what they may see of a flow."""
