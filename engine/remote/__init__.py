"""Workers that are no part of this installation: they claim, beat, log and settle through a service.

A remote worker is a row of kr_watcher like any other watcher's, and its claims are claims like any other: the same
leases, the same fences, the same supervision.
"""
