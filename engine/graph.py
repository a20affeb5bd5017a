"""Order, cycles and missing steps of a graph of steps. Pure functions over numbers; nothing here recurses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

Predecessors = Mapping[int, Iterable[int]]


def in_order(predecessors: Predecessors) -> list[int] | None:
    """The nodes, each after its predecessors and smaller numbers first where free; None if there is a cycle."""
    sorter = TopologicalSorter(predecessors)
    try:
        sorter.prepare()
    except CycleError:
        return None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order


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
