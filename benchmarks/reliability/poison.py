"""What poison costs the healthy: the corpus of tests/poison, and a thousand poison rows at the head of the queue.

    python benchmarks/reliability/poison.py                           all databases whose servers are on the machine
    python benchmarks/reliability/poison.py --db URL --kind mariadb   one of yours; its Penstock tables are emptied
    python benchmarks/reliability/poison.py --per-s 20                the corpus row by row, not all at once

A register and a watcher run as processes of their own while healthy flows are registered at a steady rate, each time on
emptied tables: first nothing else happens (the baseline), then the corpus is inserted, then the thousand. Latencies are
from registration to the start of the first task, by the database's clock.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests" / "poison"))

from flow_rows import flow_rows
from live import Load, define_healthy, insert_poison, latencies, running, unfinished, wait_until_met
from main_job import databases
from poison import RUNS, TASK, Poison, suspended, task_row
from task_rows import task_rows

from engine import migrate
from engine.database import Database, open_database
from engine.keys import Key
from engine.states import Reason

HEAD = 1_000
PATIENCE_S = 300.0


def main() -> None:
    options = _options()
    found = []
    for name, url in databases(options.db, options.kinds):
        print(f"{name} ...", file=sys.stderr)
        found.append(measure(options.kind or name, url, options.seconds, options.per_s))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    columns = list(found[0]) if found else []
    print(" | ".join(columns))
    for row in found:
        print(" | ".join(str(row[column]) for column in columns))


def measure(kind: str, url: str, seconds: float, per_s: float) -> dict[str, Any]:
    """All figures of one database. Units: seconds; latencies in milliseconds."""
    db = open_database(url, role="bench")
    figures: dict[str, Any] = {"database": kind}
    baseline = _run(db, url, kind, [], seconds)
    figures["baseline p50/p99 ms"] = baseline["latency"]
    corpus = _run(db, url, kind, [*task_rows(), *flow_rows()], seconds, per_s)
    figures |= {"poison rows": corpus["rows"], "all classified after s": corpus["classified_s"]}
    figures["under the corpus p50/p99 ms"] = corpus["latency"]
    head = _run(db, url, kind, _head(), seconds)
    figures |= {f"{HEAD} at the head, classified after s": head["classified_s"]}
    figures["behind the head p50/p99 ms"] = head["latency"]
    figures["the head adds s, at most"] = round(max(0.0, head["worst_s"] - baseline["worst_s"]), 2)
    figures["process exits"] = baseline["exits"] + corpus["exits"] + head["exits"]
    db.close()
    return figures


def _head() -> list[Poison]:
    """Rows of one flow each, more urgent than everything else."""
    end = suspended(Reason.UNKNOWN_PROGRAM)
    first = {"task_priority": -20, "program": "NoSuchProgram"}
    return [
        Poison(f"head {number}", (task_row(f"head {number}", 1, **first),), {(f"head {number}", 1): end})
        for number in range(HEAD)
    ]


def _run(
    db: Database, url: str, kind: str, corpus: Sequence[Poison], seconds: float, per_s: float = 0.0
) -> dict[str, Any]:
    migrate.reset(db)
    define_healthy(db)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(url, Path(folder)) as (address, *processes),
        Load(address) as load,
    ):
        began = time.monotonic()
        steadily = {"together": 1, "pause_s": 1 / per_s} if per_s else {}
        inserted = insert_poison(db, kind, corpus, **steadily)
        classified_s = wait_until_met(db, inserted.ends, PATIENCE_S)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        load.stop()
        wait_until_met(db, {Key(flow_id, 3): RUNS for flow_id in load.flows}, PATIENCE_S)
        exits = sum(service.process.poll() is not None for service in processes)
    assert not load.refused, load.refused[:3]
    assert not unfinished(db, load.flows), "not every healthy flow finished: the figure would be worthless"
    waited = latencies(db, load.flows)
    at = [waited[int(len(waited) * share)] * 1000 for share in (0.5, 0.99)]
    return {
        "rows": sum(table == TASK for poison in inserted.inside for table, _ in poison.rows),
        "classified_s": round(classified_s, 1),
        "latency": f"{at[0]:.1f}/{at[1]:.1f}",
        "worst_s": waited[-1],
        "exits": exits,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", help="measure this database only; its Penstock tables are emptied")
    parser.add_argument("--kind", choices=["sqlite", "mariadb", "postgresql"], help="which database --db is")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "mariadb", "postgresql"])
    parser.add_argument("--seconds", type=float, default=10.0, help="least length of each run (default: 10)")
    parser.add_argument("--per-s", type=float, default=0.0, help="insert so many a second (default: all at once)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
