"""The keeper of one child: starts it, bounds it, and sees that nothing of it is left. Run as a script by the watcher.

    watcher --socket--> keeper --fork, exec--> worker --> whatever the program starts

It is small, single-threaded and imports no program, so nothing that a program does can stop it from cleaning up. It is
the subreaper of all that the worker starts: a process that daemonises becomes its child, and is found. It obeys bytes:
T (ask the worker's process group to end), K (kill everything now), R (let the worker end by itself, then clean up); the
end of the socket, which is the end of the watcher, is K. Its one report is a line of JSON, sent when nothing is left.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
LOOK_EVERY_S = 0.2
"""Between counts of the processes that the worker has started."""
RETIRE_S = 2.0
OOM_SCORE = "500"


def main() -> None:
    """argv: the worker's command; stdin: the socket to the watcher; fds and limits come as JSON in argv[1]."""
    told = json.loads(sys.argv[1])
    prctl = _prctl()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    awake, wake = os.pipe()
    for end in (awake, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keeper = os.getpid()
    worker = os.fork()
    if worker == 0:
        _become_worker(told, sys.argv[2:], prctl, keeper)
    for fd in told["fds"]:
        os.close(fd)
    Keeper(worker, awake, told["max_processes"]).run()


def _prctl() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError:  # not Linux: sessions and process groups must do
        return lambda *_: -1


def _become_worker(told: dict[str, Any], command: list[str], prctl: Any, keeper: int) -> None:
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(OOM_SCORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if told["memory_bytes"]:
            resource.setrlimit(resource.RLIMIT_AS, (told["memory_bytes"], told["memory_bytes"]))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        request, answer, log = told["fds"]
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, place)
        os.close(log)
        os.set_inheritable(request, True)
        os.set_inheritable(answer, True)
        os.execv(command[0], command)
    finally:
        os._exit(127)


class Keeper:
    """Watches one worker until it and everything that it started are gone."""

    def __init__(self, worker: int, awake: int, max_processes: int) -> None:
        self._worker = worker
        self._awake = awake
        self._most = max_processes
        self._status: int | None = None
        self._retire_by: float | None = None

    def run(self) -> None:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._awake, select.POLLIN)
        report: dict[str, int] = {}
        while self._status is None:
            for fd, _ in poll.poll(LOOK_EVERY_S * 1000):
                if fd == 0:
                    self._obey(os.read(0, 64))
                else:
                    os.read(self._awake, 4096)
            self._reap()
            if self._status is None and (count := len(self._below())) > self._most:
                report["processes"] = count - 1
                break
            if self._retire_by is not None and time.monotonic() >= self._retire_by:
                break
        self._clean_up()
        status = self._status or 0
        report |= {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"exit": os.WEXITSTATUS(status)}
        with suppress(OSError):
            os.write(0, json.dumps(report).encode())

    def _obey(self, commands: bytes) -> None:
        if b"R" in commands:
            self._retire_by = time.monotonic() + RETIRE_S
        if b"T" in commands:
            with suppress(OSError):
                os.killpg(self._worker, signal.SIGTERM)
        if b"K" in commands or (not commands and self._retire_by is None):
            self._clean_up()
        elif not commands:
            time.sleep(0.02)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._worker:
                    self._status = status

    def _below(self) -> set[int]:
        """Every process below this one, however it was started."""
        found: set[int] = set()
        new = {os.getpid()}
        while new:
            new = {child for pid in new for child in children_of(pid)} - found
            found |= new
        return found

    def _clean_up(self) -> None:
        """Freeze all first, so that none can start others meanwhile; then kill all; until there is none."""
        pause = 0.001
        while True:
            frozen: set[int] = set()
            while fresh := self._below() - frozen:
                _signal_all(fresh, signal.SIGSTOP)
                frozen |= fresh
            if not frozen:
                return
            _signal_all(frozen, signal.SIGKILL)
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            self._reap()


def _signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process; none if it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as listed:
                found += map(int, listed.read().split())
    except OSError:
        return found
    return found


if __name__ == "__main__":
    main()
