"""Twenty mistakes that engines of this kind have shipped, each as a change to a copy of the sources, and the test that
sees it. A suite that has never been seen to fail proves nothing.

What is replaced must occur exactly once in its file, so that no change of the sources can turn a mistake into none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """`old` becomes `new` in `file`."""

    file: str
    old: str
    new: str = ""


@dataclass(frozen=True)
class Bug:
    """A mistake. `test` is what must fail with it, on `database`, in at most `tries` runs: some are races."""

    name: str
    edits: tuple[Edit, ...]
    test: str
    database: str = "sqlite"
    tries: int = 1


VERDICTS, STATES = "engine/settling/verdicts.py", "engine/states.py"
CLAIM, CANDIDATES, FLOWS = "engine/claim.py", "engine/candidates.py", "engine/flows.py"
REAPING, BATCHES, PLAIN = "engine/supervise/reaping.py", "engine/supervise/batches.py", "engine/settling/plain.py"
LEASES, DATABASE = "engine/leases.py", "engine/database.py"
CONFORMANCE, WATCHER = "tests/conformance/", "tests/watcher/"

BY_KEY = Edit(
    "engine/transitions.py",
    "where(joined(rows), ",
    "where(task_stat.c.task_flow_id == rows.c.flow_id, task_stat.c.task_exec_seq == rows.c.seq, ",
)
UNLOCKED = Edit(
    CANDIDATES,
    "return query.with_for_update(skip_locked=skip_locked, of=locked) if row_locks else query",
    "return query",
)
NEW_TRANSACTION = '    conn.exec_driver_sql("COMMIT")\n    conn.exec_driver_sql("BEGIN")\n'
MIGRATIONS = tuple(f"sql/migrations/0001_main_job.{flavour}.sql" for flavour in ("mariadb", "postgresql", "sqlite"))
UNIQUE_KEY = ",\n    CONSTRAINT uq_kr_flow_stat_idempotency UNIQUE (task_id, idempotency_key)"
READ_SIBLINGS = """\
def _unsettled():
    from sqlalchemy import func
    from engine.tables import run_edge
    parent, edge, child = task_stat.alias(), run_edge.c, task_stat.c
    mine = edge.task_flow_id == child.task_flow_id, edge.task_exec_seq == child.task_exec_seq
    further = select(edge.depends_task_exec_seq).where(*mine).correlate(task_stat)
    seq = parent.c.task_exec_seq
    is_parent = (seq == child.depends_task_exec_seq) | seq.in_(further)
    is_open = parent.c.exec_status.not_in([3, 9])
    query = select(func.count()).where(parent.c.task_flow_id == child.task_flow_id, is_parent, is_open)
    return query.correlate(task_stat).scalar_subquery()


def _lowered("""
LOWERED = "        (and_(_IS_OPEN, _task.wait_count > rows.c.lower_by), _task.wait_count - rows.c.lower_by),\n"
LOOK_FIRST = """\
    taken = _owners(conn, [item.wish for item in keyed])
    new = [item for item in keyed if (item.wish.task_id, item.wish.idempotency_key) not in taken]
    if new:
        product.insert_rows(conn, flow_stat, rows(new), registered_ts=instant)
"""

BUGS: tuple[Bug, ...] = (
    Bug(
        "settle without claim id",
        (Edit(VERDICTS, "if row is None or row.claim_id != item.task.claim_id:", "if row is None:"), BY_KEY),
        CONFORMANCE + "test_settle.py::test_a_stale_settle_changes_nothing_but_the_record",
    ),
    Bug(
        "settle by id only",
        (
            Edit(
                VERDICTS,
                "    if row is None or row.claim_id != item.task.claim_id:",
                "    return Verdict.ACCEPTED\n    if row is None:",
            ),
            BY_KEY,
            Edit(STATES, '_move("finish", {Status.RUNNING, Status.WAIT}', '_move("finish", set(Status)'),
        ),
        CONFORMANCE + "test_settle.py::test_settling_twice_is_recognised",
    ),
    Bug(
        "rescue by id only",
        (
            Edit(REAPING, "move(conn, name, keys, still, reason=", "move(conn, name, keys, reason="),
            Edit(BATCHES, "if db.can.row_locks:\n        query =", "if False:\n        query ="),
            Edit(STATES, '_move("lapse", {Status.RUNNING}', '_move("lapse", set(Status)'),
        ),
        CONFORMANCE + "test_settle.py::test_settle_and_lapse_together",
        "postgresql",
        tries=5,
    ),
    Bug(
        "claim without status in the update",
        (
            UNLOCKED,
            Edit(CLAIM, "    IS_READY_BY_KEY,\n    claim_id=", "    claim_id="),
            Edit(STATES, '_move("claim", {Status.WAIT}', '_move("claim", set(Status)'),
        ),
        CONFORMANCE + "test_claim.py::test_racing_watchers_never_share_a_row",
        "postgresql",
        tries=5,
    ),
    Bug(
        "claim without SKIP LOCKED and without counting the rows moved",
        (UNLOCKED, Edit(CLAIM, "    if moved == len(rows):\n", "    if moved is not None:\n")),
        CONFORMANCE + "test_claim.py::test_racing_watchers_never_share_a_row",
        "postgresql",
        tries=5,
    ),
    Bug(
        "the counter of a successor computed from its siblings",
        (
            Edit(PLAIN, f"{LOWERED}        (_IS_OPEN, 0),\n", "        (_IS_OPEN, _unsettled()),\n"),
            Edit(PLAIN, "def _lowered(", READ_SIBLINGS),
        ),
        CONFORMANCE + "test_settle.py::test_siblings_both_read_before_either_commits",
        "postgresql",
    ),
    Bug(
        "successors told in a transaction of their own",
        (Edit(PLAIN, '    hit("settle.after_moves")\n', NEW_TRANSACTION),),
        CONFORMANCE + "test_settle.py::test_an_error_while_successors_are_told_settles_nothing",
    ),
    Bug(
        "register in two transactions",
        (Edit(FLOWS, "    admission = flow_limits.admit(", NEW_TRANSACTION + "    admission = flow_limits.admit("),),
        CONFORMANCE + "test_register.py::test_a_crash_between_flow_and_tasks_leaves_nothing",
    ),
    Bug(
        "a look for the key instead of a unique constraint",
        (
            *(Edit(script, UNIQUE_KEY) for script in MIGRATIONS),
            Edit(
                FLOWS,
                "    conn.execute(missing, rows(keyed))\n",
                LOOK_FIRST,
            ),
        ),
        "tests/register/test_idempotency.py::test_many_keys_at_once_in_two_services",
        "postgresql",
        tries=5,
    ),
    Bug(
        "a COMMIT without an answer tried again without reading back",
        (
            Edit(
                DATABASE,
                "if committing and kind in (Failure.CONNECTION, Failure.WAIT, Failure.UNKNOWN):",
                "if committing and kind is None:",
            ),
        ),
        CONFORMANCE + "test_database.py::test_a_commit_without_an_answer_is_not_tried_again",
        "postgresql",
    ),
    Bug(
        "COMMIT after a lock time-out",
        (
            Edit(
                DATABASE,
                "                except BaseException:\n                    with_begin.rollback()",
                "                except DBAPIError:\n                    with_begin.commit()\n"
                "                    raise\n"
                "                except BaseException:\n                    with_begin.rollback()",
            ),
        ),
        "tests/failpoints/test_batches.py::test_a_lock_time_out_leaves_nothing_half_done",
        "mariadb",
    ),
    Bug(
        "a heartbeat that takes errors for beats",
        (
            Edit(
                "watcher/heartbeat/beat.py",
                'return "down" if error.is_down else "silent", str(error)',
                'return "kept", ""',
            ),
            Edit(
                "watcher/heartbeat/beat.py",
                'return "silent", str(error) or repr(error)',
                'return "kept", ""',
            ),
        ),
        WATCHER + "test_heartbeat.py::test_while_only_the_beats_are_blocked_nothing_is_claimed",
        "postgresql",
    ),
    Bug(
        "leases by the watcher's clock",
        (
            Edit(
                LEASES,
                'extended = {"beat_ts": now(), "lease_until_ts": later(lease_s), "state": state}',
                "from datetime import UTC, datetime, timedelta\n"
                "    ends = datetime.now(UTC) + timedelta(seconds=lease_s)\n"
                '    extended = {"beat_ts": now(), "lease_until_ts": ends, "state": state}',
            ),
        ),
        CONFORMANCE + "test_leases.py::test_the_clock_of_a_watcher_decides_nothing",
        "postgresql",
    ),
    Bug(
        "a lease that may be NULL",
        (
            *(Edit(script, "lease_until_ts TEXT NOT NULL", "lease_until_ts TEXT") for script in MIGRATIONS[2:]),
            Edit(LEASES, "            lease_until_ts=later(lease_s),\n"),
            Edit(
                LEASES,
                "is_valid = watcher.c.lease_until_ts > now(), ",
                "is_valid = (watcher.c.lease_until_ts > now()) | watcher.c.lease_until_ts.is_(None), ",
            ),
        ),
        CONFORMANCE + "test_leases.py::test_a_watcher_that_dies_before_its_first_beat_loses_its_tasks",
    ),
    Bug(
        "a reaper without patience",
        (
            Edit(
                "watcher/lookout.py",
                "if now < self._reap_at or self._heartbeat.in_contact_s < lease_s:",
                "if now < self._reap_at:",
            ),
            Edit("watcher/lookout.py", " and self._heartbeat.in_contact_s >= lease_s,", ","),
        ),
        WATCHER + "test_lease.py::test_who_is_back_first_waits_for_the_others",
        "postgresql",
    ),
    Bug(
        "a place in a limit freed twice",
        (Edit("engine/limits/room.py", ".where(IS_RUNNING)", ".where(IS_RUNNING, task.losses == 0)"),),
        CONFORMANCE + "test_limits.py::test_a_place_is_freed_once_by_the_lapse_and_the_late_settlement",
    ),
    Bug(
        "no filter by capability",
        (Edit("watcher/offers.py", "if self.leave(task.program, self._queue_of(task.key)) else", "if False else"),),
        WATCHER + "test_offers.py::test_a_task_is_left_to_the_watcher_that_has_its_program",
    ),
    Bug(
        "only Exception caught",
        (Edit("watcher/attempt.py", "except BaseException as error:  # SystemExit", "except Exception as error:  #"),),
        WATCHER + "test_attempt.py",
    ),
    Bug(
        "the size of a result unchecked",
        (
            Edit(
                "engine/settling/making.py",
                '"finish", result=jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES))',
                '"finish", result=jsontext.dumps(result))',
            ),
        ),
        WATCHER + "test_attempt.py",
    ),
    Bug(
        "masked after the cut",
        (Edit("watcher/masking.py", "self.mask(text[: most + self.longest])[:most]", "self.mask(text[:most])"),),
        WATCHER + "test_masking.py::test_a_secret_on_the_cut_is_masked_before_it",
    ),
)
