"""Programs that do their worst, each in a child process of its own; a plugin that children import by its name."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import ctypes
import gc
import json
import locale
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from battery import RAISED, RESULTS

from penstock import Again, Await, Call, Choose, Fail, Finish, Outcome, Plan, Program, Task, hookimpl, program

KEPT: list[Any] = []
"""What programs leave behind on purpose."""
MOST_DESCRIPTORS = 4096
"""A child keeps the numbers that its pipes have in the watcher, however many that has open."""
SETSID_CHILD = "import os, time; os.setsid(); time.sleep(600)"


def _null_read() -> None:
    ctypes.string_at(0)


def _illegal_instruction() -> None:
    import mmap

    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\x0b" if os.uname().machine == "x86_64" else b"\x00\x00\x00\x00")
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def _memory_hog() -> None:
    held = []
    while True:
        held.append(bytearray(16 * 1024 * 1024))


def _fork_bomb() -> None:
    for _ in range(100_000):
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)


def _sleep() -> None:
    while True:
        time.sleep(600)


def _hold_the_gil() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")


def _stop_myself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _sleep()


def _swallow_everything() -> None:
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def _daemonise() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            while True:
                time.sleep(600)
        os._exit(0)


def _leave_grandchildren() -> None:
    for _ in range(3):
        subprocess.Popen([sys.executable, "-S", "-c", SETSID_CHILD], start_new_session=True)


def _print_a_gigabyte() -> None:
    piece = (b"all work and no play " * 4 + b"\n") * 12_000
    for _ in range(1024**3 // len(piece)):
        os.write(1, piece)


def _print_a_long_line() -> None:
    print("x" * 100_000_000)


def _print_binary() -> None:
    os.write(1, bytes(range(256)) * 4)
    print("\x1b[2J\x1b[31mred\x1b[0m half \ud800 a character, and \x00")


def _leak_descriptors() -> None:
    KEPT.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(500))


def _leak_threads() -> None:
    threading.stack_size(256 * 1024)
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def _leak_memory() -> None:
    KEPT.append(b"x" * 300_000_000)


def _close_everything() -> None:
    os.closerange(0, MOST_DESCRIPTORS)
    time.sleep(600)


def _write_everywhere() -> None:
    for fd in range(3, MOST_DESCRIPTORS):
        try:
            os.write(fd, b"garbage \xff\x00 " * 10)
        except OSError:
            continue
    time.sleep(600)


def _send_a_huge_frame() -> None:
    for fd in range(3, MOST_DESCRIPTORS):
        try:
            os.write(fd, (900 * 1024 * 1024).to_bytes(4, "big") + b"{")
        except OSError:
            continue
    time.sleep(600)


def _change_the_process() -> None:
    os.chdir("/")
    os.environ["LEFT_BEHIND"] = "yes"
    sys.path.insert(0, "/nowhere")
    sys.setrecursionlimit(12_345)
    locale.setlocale(locale.LC_ALL, "C")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _monkeypatch() -> None:
    json.loads = lambda *_: {"patched": True}  # type: ignore[assignment]
    json.dumps = lambda *_, **__: '{"patched": true}'  # type: ignore[assignment]
    time.sleep = lambda _: None  # type: ignore[assignment]
    time.monotonic = lambda: 0.0  # type: ignore[assignment]
    builtins.open = None  # type: ignore[assignment]


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


def _recurse_in_c() -> None:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)


def _exit_in_atexit() -> None:
    def leave() -> None:
        time.sleep(600)
        sys.exit(9)

    atexit.register(leave)
    os.environ["RETIRE_ME"] = "yes"


def _delete_the_temporary_directory() -> None:
    place = tempfile.mkdtemp()
    os.chdir(place)
    shutil.rmtree(place)


def _kill_the_keeper() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def _stop_collecting() -> None:
    gc.disable()
    sys.exit("in the middle")


def _raise_a_signal() -> None:
    signal.raise_signal(signal.SIGUSR1)


DEEDS: dict[str, Callable[[], object]] = {
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "abort": os.abort,
    "segfault": _null_read,
    "illegal instruction": _illegal_instruction,
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "signal": _raise_a_signal,
    "memory hog": _memory_hog,
    "fork bomb": _fork_bomb,
    "sleep": _sleep,
    "hold the interpreter": _hold_the_gil,
    "stop": _stop_myself,
    "ignore SIGTERM": _ignore_sigterm,
    "swallow": _swallow_everything,
    "daemonise": _daemonise,
    "grandchildren": _leave_grandchildren,
    "gigabyte": _print_a_gigabyte,
    "long line": _print_a_long_line,
    "binary": _print_binary,
    "leak descriptors": _leak_descriptors,
    "leak threads": _leak_threads,
    "leak memory": _leak_memory,
    "close all": _close_everything,
    "write everywhere": _write_everywhere,
    "huge frame": _send_a_huge_frame,
    "change the process": _change_the_process,
    "monkeypatch": _monkeypatch,
    "recursion": _recurse,
    "deep recursion": _recurse_in_c,
    "atexit": _exit_in_atexit,
    "temporary directory": _delete_the_temporary_directory,
    "kill the keeper": _kill_the_keeper,
    "SystemExit": _stop_collecting,
}


@program("misbehaves", executor="process")
def misbehaves(how: str) -> str:
    """Does one of DEEDS; the text is what is left of it if it comes back."""
    DEEDS[how]()
    return "came back"


@program("misbehaves in a thread")
def misbehaves_in_a_thread(how: str) -> str:
    DEEDS[how]()
    return "came back"


@program("raises there", executor="process")
def raises_there(what: str) -> None:
    raise RAISED[what]


@program("returns there", executor="process")
def returns_there(what: str) -> Any:
    return "x" * 100_000_000 if what == "100 MB" else RESULTS[what]


@program("good", executor="process")
def good(n: int) -> dict[str, Any]:
    """What a program that expects an untouched process finds."""
    time.sleep(0.01)
    return {
        "n": n,
        "cwd": os.getcwd(),
        "left": "LEFT_BEHIND" in os.environ,
        "json": json.loads("[1]"),
        "kept": len(KEPT),
    }


@program("looks around", executor="process")
def looks_around() -> dict[str, Any]:
    """What a program can see of the watcher: descriptors, environment, modules."""
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
    with open(f"/proc/{os.getppid()}/environ", "rb") as environ:
        of_parent = environ.read().decode(errors="replace")
    with open("/proc/self/status") as status:
        facts = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
    with open("/proc/self/oom_score_adj") as score:
        oom = int(score.read())
    return {
        "fds": fds,
        "environment": dict(os.environ),
        "of_parent": of_parent,
        "argv": sys.argv,
        "modules": sorted(name for name in sys.modules if name.startswith(("sqlalchemy", "pymysql", "psycopg"))),
        "no_new_privs": facts["NoNewPrivs"].strip(),
        "session": os.getsid(0) == os.getpid(),
        "oom": oom,
        "pid": os.getpid(),
    }


@program("reads", executor="process")
def reads(call: Call, day: str) -> dict[str, Any]:
    """All that the call gives."""
    call.logger.info("from the logger")
    print("from print")
    return {
        "day": day,
        "flow": dict(call.flow_parameters),
        "results": {str(seq): found for seq, found in call.results.items()},
        "upstream": list(call.upstream),
        "attempt": call.attempt,
        "claim": call.claim_id,
        "fence": call.fence,
        "seq": call.exec_seq,
        "program": call.program,
    }


@program("--version", executor="process")
def how_it_was_started(call: Call, text: str) -> dict[str, Any]:
    """What it was given, and every word by which this process and the one above it were started."""
    words: list[str] = []
    for pid in (os.getpid(), os.getppid()):
        for what in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{what}", "rb") as started:
                words += started.read().decode(errors="replace").split("\0")
    return {"text": text, "flow": dict(call.flow_parameters), "seq": call.exec_seq, "words": words}


@program("answers there", executor="process")
def answers_there(call: Call, what: str) -> Outcome:
    arrived = [(arrival.kind, arrival.expired) for arrival in call.arrivals]
    if arrived:
        return Finish(arrived)
    outcomes: dict[str, Outcome] = {
        "fail": Fail("no", retry=False),
        "again": Again(after=timedelta(seconds=5), timeout=60),
        "choose": Choose(result=[1]),
        "await": Await("timer", until=timedelta(milliseconds=50)),
        "plan": Plan([Task("Noop", name="a"), Task("good", {"n": 7}, after=["a"], options={"executor": "process"})]),
        "bad plan": Plan([Task("Noop", after=[5])]),
    }
    return outcomes[what]


class ReturnsNothing(Program):
    """Answers with what is no outcome."""

    name = "returns nothing there"
    executor = "process"

    def run(self, call: Call) -> Outcome:
        return None  # type: ignore[return-value]


@program("sleeps there", executor="process")
def sleeps_there(call: Call, seconds: float = 60) -> str:
    print("begun", os.getpid(), flush=True)
    call.sleep(seconds)
    return "slept"


@program("leaves marks", executor="process")
def leaves_marks(call: Call, path: str, seconds: float) -> str:
    """Writes its process and the time into a file, every few milliseconds, whoever tells it to stop. A second run is
    shorter."""
    ends = time.monotonic() + (1.5 if os.path.exists(path) else seconds)
    while time.monotonic() < ends:
        with open(path, "a") as marks:
            marks.write(f"{os.getpid()} {time.monotonic()}\n")
        time.sleep(0.01)
    return call.flow_id


@program("prints there", executor="process")
def prints_there(pieces: list[str], gate: str, times: int = 1) -> None:
    """Prints one piece after the other, each time waiting until somebody has opened the gate, a FIFO."""
    for piece in pieces:
        for _ in range(times):
            print(piece, end="", flush=True)
        with open(gate) as opened:
            opened.read()


@program("coroutine there", executor="process")
async def coroutine_there() -> str:
    await asyncio.sleep(0.01)
    return "waited"


@program("parallel")
async def parallel(seconds: float = 0.2) -> str:
    """Waits on the watcher's event loop."""
    await asyncio.sleep(seconds)
    return "waited"


@hookimpl
def penstock_programs() -> list[Program]:
    """All of them."""
    return [item for item in globals().values() if isinstance(item, Program)] + [ReturnsNothing()]
