"""A watcher in a process of its own, to be killed or frozen: `python child.py URL SECONDS LEASE HEARTBEAT STALL`."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading

from engine.database import open_database
from penstock import Call, program
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings


def main(url: str, seconds: float, lease_s: float, heartbeat_s: float, stall_s: float = 300.0) -> None:
    """Run until SIGTERM, or until the parent is gone."""

    @program("slow")
    def slow(call: Call) -> str:
        call.logger.info("begun by the child")
        print("begun", flush=True)
        threading.Event().wait(seconds)
        return "child"

    @program("hogs")
    def hogs() -> str:
        """Keep the interpreter to itself, as a C extension may: no other thread of this process runs meanwhile."""
        print("begun", flush=True)
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        return "child"

    db = open_database(url, role="watcher")
    settings = Settings(
        workers=2, interval_s=0.1, lease_s=lease_s, heartbeat_s=heartbeat_s, stall_s=stall_s, grace_s=30.0
    )
    watcher = Watcher(db, build_catalogue(extra=[slow, hogs], autoload=False), settings)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    watcher.run()
    db.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
