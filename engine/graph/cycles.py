"""Cycles in a graph of steps. Pure functions over numbers; nothing here recurses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

Predecessors = Mapping[int, Iterable[int]]


def on_cycles(predecessors: Predecessors) -> set[int]:
    """Every node that can never become ready: those on a cycle, and those behind one."""
    open_count = {node: len(set(before)) for node, before in predecessors.items()}
    after: dict[int, list[int]] = {}
    for node, before in predecessors.items():
        for earlier in set(before):
            after.setdefault(earlier, []).append(node)
            open_count.setdefault(earlier, 0)
    free = [node for node, count in open_count.items() if count == 0]
    while free:
        for node in after.get(free.pop(), ()):
            open_count[node] -= 1
            if open_count[node] == 0:
                free.append(node)
    return {node for node, count in open_count.items() if count > 0}


def a_cycle(predecessors: Predecessors) -> list[int]:
    """One cycle, first node repeated at the end; empty if there is none."""
    try:
        TopologicalSorter(predecessors).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
