"""Penstock's workloads done by its peers, each installed into an environment of its own, on servers of their own.

    python benchmarks/peers/compare.py                         every peer and workload, with its default size
    python benchmarks/peers/compare.py huey celery --workloads queue chain --runs 5

The first run of a peer installs it with pip. Celery, Dramatiq and Huey want `redis-server` on the machine, DBOS and
Procrastinate PostgreSQL; what is missing is named and left out. Redis syncs its file once a second, which is its
default and less than a database promises. A time ends when the last task itself notes that it runs (notes.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))

import servers
from patience import until

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Peer:
    """`script` in this folder, what pip installs for it, and the servers that it is measured with, one after the other;
    None is a file."""

    script: str
    packages: tuple[str, ...]
    stores: tuple[str | None, ...]
    workloads: tuple[str, ...]


PEERS = {
    "huey": Peer("huey_peer.py", ("huey>=3", "redis"), ("redis", None), ("queue", "latency", "chain")),
    "dramatiq": Peer("dramatiq_peer.py", ("dramatiq[redis]",), ("redis",), ("queue", "latency", "chain")),
    "celery": Peer(
        "celery_peer.py", ("celery[redis]",), ("redis",), ("queue", "latency", "chain", "diamond10", "fan-out")
    ),
    "procrastinate": Peer("procrastinate_peer.py", ("procrastinate",), ("postgresql",), ("queue", "latency")),
    "dbos": Peer("dbos_peer.py", ("dbos",), ("postgresql", None), ("queue", "latency", "chain", "diamond10")),
    "luigi": Peer("luigi_peer.py", ("luigi",), (None,), ("latency", "chain", "diamond10")),
}
SIZES = {("dbos", "queue"): 1_000, ("luigi", "latency"): 20}
"""Smaller than the default, where that would take many minutes."""


def main() -> None:
    options = _options()
    found: list[dict[str, object]] = []
    for name in options.peers or PEERS:
        peer = PEERS[name]
        python = environment(options.environments / name, peer.packages)
        for store in peer.stores:
            if store is not None and not _is_there(store):
                print(f"{name}: left out, as {store} is not on this machine", file=sys.stderr)
                continue
            for workload in peer.workloads:
                if not options.workloads or workload in options.workloads:
                    for item in _median(name, python, store, workload, options.runs):
                        print(_line(item), file=sys.stderr if options.json else sys.stdout)
                        found.append(item)
    if options.json:
        print(json.dumps(found, indent=2))


def _median(name: str, python: Path, store: str | None, workload: str, runs: int) -> list[dict[str, object]]:
    """The run whose time is the median; nothing, and words, where the peer fails."""
    done = []
    for _ in range(runs):
        try:
            done.append(run(name, python, store, workload))
        except (subprocess.SubprocessError, ValueError) as error:
            print(f"{name}, {store or 'file'}, {workload}: {error}", file=sys.stderr)
            return []
    middle = statistics.median_low(float(item["wall_s"]) for item in done)
    chosen = next(item for item in done if item["wall_s"] == middle)
    return [{**chosen, "runs": runs}]


def _line(item: dict[str, Any]) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in item["facts"].items())
    return f"{item['peer']:28} {item['workload']:10} {item['wall_s']:>9} s {item['tasks_per_s']:>9} tasks/s  {facts}"


def run(name: str, python: Path, store: str | None, workload: str) -> dict[str, object]:
    """One measurement in a process of the peer's environment. Errors: those of subprocess, ValueError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-peer-")))
        given = {"PEER_NOTES": str(folder / "notes"), "PEER_FILE": str(folder / "peer.db")}
        if store is not None:
            given[f"PEER_{store.upper()}"] = stack.enter_context(server(store))
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        command = [str(python), str(HERE / PEERS[name].script), workload, str(SIZES.get((name, workload), 0))]
        env = {**os.environ, **given, "PATH": path, "PYTHONPATH": str(HERE)}
        ended = subprocess.run(
            command, env=env, cwd=HERE, timeout=TIMEOUT_S, capture_output=True, text=True, check=False
        )
        lines = [line for line in ended.stdout.splitlines() if line.startswith('{"peer"')]
        if ended.returncode or not lines:
            raise ValueError(f"ended with {ended.returncode}: {ended.stderr[-1500:]}")
        return dict(json.loads(lines[-1]))


@contextmanager
def server(store: str) -> Iterator[str]:
    """The URL of an empty server of this kind, which ends with the block."""
    if store == "redis":
        with _redis() as url:
            yield url
        return
    started = servers.start(store, durable=True)
    if started is None:
        raise ValueError(f"{store} did not start")
    try:
        yield started.create("peer").replace("+psycopg", "")
    finally:
        started.stop()


@contextmanager
def _redis() -> Iterator[str]:
    port = servers.free_port()
    with tempfile.TemporaryDirectory(prefix="penstock-redis-") as folder:
        command = ["redis-server", "--port", str(port), "--dir", folder, "--appendonly", "yes", "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(lambda: servers.answers(port))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(20)


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The Python of an environment with these packages, made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {', '.join(packages)} into {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (folder / "ready").touch()
    return python


def _is_there(store: str) -> bool:
    return shutil.which("redis-server") is not None if store == "redis" else servers.is_installed(store)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}; default: all")
    parser.add_argument("--workloads", nargs="*", help="only these")
    parser.add_argument("--runs", type=int, default=3, help="the medians of so many count; default 3")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "penstock-peers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
