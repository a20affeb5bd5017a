"""Measurements of this installation on this machine, each beside what the same database can do bare."""
