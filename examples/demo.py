"""The main job from end to end: what `make demo` runs.

Starts Penstock on a fresh SQLite file and a small HTTP server beside it, points the third step of the sample workflow
at that server, registers the workflow by HTTP, and shows the rows as they change until the flow has finished.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.live import Live
from sqlalchemy import create_engine, text

from penstock.output import task_table

TIMEOUT_S = 60.0


class Receiver(BaseHTTPRequestHandler):
    """A service of somebody else, which the third step posts to."""

    received: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body)
        answer = json.dumps({"received": len(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    received: list[bytes] = []
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Receiver,), {"received": received}))
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder:
        db = f"sqlite:///{folder}/penstock.db"
        with Penstock(db, Path(folder), f"127.0.0.1:{receiver.server_port}") as base:
            console.print(f"Penstock is up at {base}, on {db}")
            point_sample_at(db, f"http://127.0.0.1:{receiver.server_port}/post")
            console.print(f"$ curl -X POST {base}/register/example")
            answer = requests.post(f"{base}/register/example", timeout=10)
            console.print(answer.text)
            flow = watch(base, answer.json()["taskFlowId"], console)
    receiver.shutdown()
    if flow["status"] != "FINISH" or received != [b'{"id": "test"}']:
        console.print(f"The flow ended as {flow['status']}; the receiver got {received}", style="bold red")
        return 1
    console.print(f"Finished. The third step posted {received[0].decode()} to the receiver.")
    return 0


class Penstock:
    """`penstock up` in a process of its own, from the start of the block to its end. Its programs may send requests to
    `network`, which is no address of the internet."""

    def __init__(self, db: str, folder: Path, network: str) -> None:
        self.log = folder / "penstock.log"
        flags = ["--db", db, "--port", "0", "--http-network", network]
        self.command = [sys.executable, "-m", "penstock", "up", *flags]

    def __enter__(self) -> str:
        self.process = subprocess.Popen(self.command, stderr=self.log.open("w"))
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if line.startswith("Penstock is up: "):
                    return line.split()[3]
            time.sleep(0.05)
        raise RuntimeError(f"Penstock did not come up:\n{self.log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)


def point_sample_at(db: str, url: str) -> None:
    """Definitions are rows: plain SQL changes one."""
    engine = create_engine(db)
    change = "UPDATE ms_task_definition SET param1_value = :url WHERE task_id = 'example' AND task_seq = 3"
    with engine.begin() as connection:
        connection.execute(text(change), {"url": url})
    engine.dispose()


def watch(base: str, flow_id: str, console: Console) -> dict[str, Any]:
    """Show the flow until it has finished, or needs a person, or takes too long."""
    shown = Live(console=console, auto_refresh=False) if console.is_terminal else Lines(console)
    deadline = time.monotonic() + TIMEOUT_S
    with shown:
        while True:
            flow: dict[str, Any] = requests.get(f"{base}/flows/{flow_id}", timeout=10).json()
            if isinstance(shown, Live):
                shown.update(task_table(flow), refresh=True)
            else:
                shown.update(flow)
            if flow["status"] in ("FINISH", "SUSPEND") or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    if not console.is_terminal:
        console.print(task_table(flow))
    return flow


class Lines:
    """Each change of a row as a line, where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.before: dict[int, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, flow: dict[str, Any]) -> None:
        for task in flow["tasks"]:
            seq, status = task["task_exec_seq"], task["status"]
            if status != self.before.get(seq):
                self.console.print(f"  task {seq} {task['program']}: {self.before.get(seq, 'new')} -> {status}")
                self.before[seq] = status


if __name__ == "__main__":
    sys.exit(main())
