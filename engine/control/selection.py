"""Which tasks of a flow run again, and what forbids it. Pure functions over the rows of one flow; nothing recurses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass

from engine.control.acting import TaskRow, not_for
from engine.errors import Conflict
from engine.graph.dependencies import Policy
from engine.states import CLOSED_EARLY, Reason, Status

Rows = Mapping[int, TaskRow]
Parents = Mapping[int, Set[int]]


@dataclass(frozen=True)
class Wish:
    """`roots` and, with the flags, everything ahead of them or behind them. `strict`: each root was named, and must be
    in a state to run again; else those that have not begun are left as they are. `force`: also what runs now."""

    roots: frozenset[int]
    upstream: bool = False
    downstream: bool = False
    strict: bool = True
    force: bool = False
    loops: bool = False
    """Has the flow loops? Else two tasks of one step are no iterations: a person may number his rows as he likes."""


@dataclass(frozen=True)
class Picked:
    """Run numbers: those that run again, and those that will be made anew by them."""

    again: frozenset[int]
    superseded: frozenset[int]


def pick(flow_id: str, rows: Rows, parents: Parents, wish: Wish, policy: Policy) -> Picked:
    """Work out a re-run. Errors: Conflict, BadRequest: what forbids it, by number, and what to do."""
    live = {seq for seq, row in rows.items() if not is_superseded(row)}
    if wish.strict:
        _check_roots(flow_id, rows, wish)
    chosen = (_closure(parents, wish) if wish.upstream or wish.downstream else set(wish.roots)) & live
    dropped = _planned(rows, chosen) & live
    chosen -= dropped
    later = _later_iterations(flow_id, rows, chosen, live - dropped) if wish.loops else set()
    chosen -= later
    dropped |= later | (_planned(rows, later) & live)
    again = {seq for seq in chosen if has_begun(rows[seq])}
    _check_running(flow_id, rows, again | dropped, wish)
    _check_running_behind(flow_id, rows, parents, again | dropped)
    _check_blockers(flow_id, rows, parents, again, chosen | dropped, wish, policy)
    return Picked(frozenset(again), frozenset(dropped))


def reach(start: Iterable[int], neighbours: Mapping[int, Collection[int]]) -> set[int]:
    """The start and everything that can be reached from it."""
    found = set(start)
    open_ones = list(found)
    while open_ones:
        new = set(neighbours.get(open_ones.pop(), ())) - found
        found |= new
        open_ones += new
    return found


def children_of(parents: Parents) -> dict[int, list[int]]:
    behind: dict[int, list[int]] = {}
    for seq, before in parents.items():
        for earlier in before:
            behind.setdefault(earlier, []).append(seq)
    return behind


def step_of(row: TaskRow) -> tuple[object, ...]:
    """What all iterations of one step of a flow have in common."""
    return row.task_flow_id, row.task_id, row.task_seq, row.phase


def is_superseded(row: TaskRow) -> bool:
    return bool(row.exec_status == Status.IGNORE and row.reason == Reason.SUPERSEDED)


def has_begun(row: TaskRow) -> bool:
    """Is there anything to run again? A task that only waits for its turn would gain nothing but a number."""
    is_fresh = row.started_ts is None and row.due_ts is None and row.attempt == 0
    return not (row.exec_status == Status.WAIT and is_fresh)


def _closure(parents: Parents, wish: Wish) -> set[int]:
    found = set(wish.roots)
    if wish.upstream:
        found |= reach(wish.roots, parents)
    if wish.downstream:
        found |= reach(wish.roots, children_of(parents))
    return found


def _planned(rows: Rows, makers: Set[int]) -> set[int]:
    """What was made by the plans of these, and by the plans of those."""
    made: dict[int, list[int]] = {}
    for seq, row in rows.items():
        if row.made_by_exec_seq is not None:
            made.setdefault(row.made_by_exec_seq, []).append(seq)
    return reach((seq for maker in makers for seq in made.get(maker, ())), made)


def _later_iterations(flow_id: str, rows: Rows, chosen: Set[int], live: Set[int]) -> set[int]:
    """Of each step that a loop has made several times, all chosen ones but the first: the loop will make them anew.
    What a plan made, or undoes a step, has the number of that step and is no iteration of it."""
    instances: dict[tuple[object, ...], list[int]] = {}
    for seq in sorted(live):
        if rows[seq].made_by_exec_seq is None:
            instances.setdefault(step_of(rows[seq]), []).append(seq)
    later: set[int] = set()
    for same in instances.values():
        mine = [seq for seq in same if seq in chosen]
        if not mine:
            continue
        others = [seq for seq in same if seq > mine[0]]
        if outside := [seq for seq in others if seq not in chosen]:
            state = f"is iteration {rows[mine[0]].iteration} of a loop that has gone on to task {outside[-1]}"
            remedy = f"run again from task {outside[-1]}, or from before the loop"
            raise Conflict(f"task {mine[0]} of flow {flow_id!r}", state, remedy)
        later |= set(others)
    return later


def _check_roots(flow_id: str, rows: Rows, wish: Wish) -> None:
    for seq in sorted(wish.roots):
        row = rows.get(seq)
        if row is None:
            raise not_for(flow_id, seq, None, "")
        if row.exec_status == Status.WAIT:
            raise not_for(flow_id, seq, row, "it is still to run; `retry` or `resume` are for what was suspended")
        if is_superseded(row):
            maker = row.made_by_exec_seq
            raise not_for(
                flow_id, seq, row, f"run task {maker} again, which makes it anew" if maker else "it is history"
            )


def _check_running(flow_id: str, rows: Rows, touched: Set[int], wish: Wish) -> None:
    running = sorted(seq for seq in touched if rows[seq].exec_status == Status.RUNNING)
    if running and not wish.force:
        names = ", ".join(map(str, running[:20]))
        remedy = "wait until it has ended, or run again with force: then what it answers comes too late"
        raise Conflict(f"task {names} of flow {flow_id!r}", "is running", remedy)


def _check_running_behind(flow_id: str, rows: Rows, parents: Parents, touched: Set[int]) -> None:
    """What runs behind the set has taken what it needs from it, and cannot be made to wait any more."""
    for seq, row in rows.items():
        if row.exec_status == Status.RUNNING and seq not in touched and (before := parents[seq] & touched):
            state = f"is running, and depends on task {min(before)}"
            remedy = "wait until it has ended, or run it again as well (downstream, with force)"
            raise Conflict(f"task {seq} of flow {flow_id!r}", state, remedy)


def _check_blockers(
    flow_id: str, rows: Rows, parents: Parents, again: Set[int], chosen: Set[int], wish: Wish, policy: Policy
) -> None:
    """What was asked for must be able to run now; what comes along with it may wait for others. Nothing runs behind a
    task that was cancelled: nobody decided that it is not needed."""
    for seq in sorted(again):
        outside = sorted((parents.get(seq, frozenset()) & rows.keys()) - chosen)
        blockers = [parent for parent in outside if _is_cancelled(rows[parent])]
        if seq in wish.roots:
            blockers += [parent for parent in outside if not policy.satisfied_by(rows[parent].exec_status)]
        if blockers:
            names = ", ".join(f"{parent} ({_state(rows[parent])})" for parent in sorted(blockers)[:20])
            remedy = "these must be over first; or run them again as well (upstream)"
            raise Conflict(f"task {seq} of flow {flow_id!r}", f"depends on task {names}", remedy)


def _is_cancelled(row: TaskRow) -> bool:
    return bool(row.exec_status == Status.IGNORE and row.reason in CLOSED_EARLY)


def _state(row: TaskRow) -> str:
    return str(row.reason) if _is_cancelled(row) else Status(row.exec_status).name
