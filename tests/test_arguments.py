"""Nothing from a row reaches a command line: the places that start a process are few, and known here word by word.

`tests/watcher/test_dashes.py` runs rows that look like options.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("engine", "programs", "register", "watcher", "penstock")
MODULES: Final = re.compile(
    r"_?(posix)?subprocess|multiprocessing|concurrent\.futures\.process|asyncio\.subprocess|pty|ctypes|webbrowser|pexpect"
)
CALLS: Final = re.compile(
    r"(fork|forkpty|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|system|popen|Popen|startfile|ProcessPoolExecutor"
    r"|create_subprocess_\w+|subprocess_\w+|getoutput|getstatusoutput|check_call|check_output|CDLL)"
)
"""By whatever name the module goes."""
PLACES: Final[dict[str, tuple[str, list[str]]]] = {
    "engine/failpoints.py": (
        "two numbers, of which one is this process and the other stands in the variable that arms failpoints",
        [
            "import subprocess",
            "subprocess.run(['/bin/sh', '-c', script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, "
            "check=True)",
            "script = f'(sleep {seconds}; kill -CONT {pid}) &'",
        ],
    ),
    "watcher/executors/process.py": (
        "the interpreter, our two files, numbers of descriptors, and limits of the watcher's settings",
        [
            "import subprocess",
            "subprocess.Popen(keeper, stdin=of_keeper.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, "
            "pass_fds=(request, answer, log), env=dict(limits.environment), start_new_session=True)",
            "keeper = [sys.executable, '-I', '-S', str(HERE / 'keeper.py'), json.dumps(told), *worker]",
            "told = {'fds': (request, answer, log), 'memory_bytes': limits.memory_bytes}",
            "worker = [sys.executable, '-P', '-X', 'faulthandler', str(HERE / 'start_child.py'), "
            "str(request), str(answer)]",
        ],
    ),
    "watcher/executors/keeper.py": (
        "the words that it was itself started with",
        [
            "import ctypes",
            "ctypes.CDLL(None, use_errno=True)",
            "os.fork()",
            "_become_worker(told, sys.argv[2:], prctl, keeper)",
            "os.execv(command[0], command)",
        ],
    ),
    "watcher/heartbeat/child.py": (
        "constants",
        [
            "import subprocess",
            "subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0)",
            "command = [sys.executable, '-P', '-m', 'watcher.heartbeat.process']",
        ],
    ),
    "penstock/fleet.py": (
        "the flags of whoever typed `penstock up`, each as one word with its name",
        [
            "import subprocess",
            "subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)",
            "self._command = [sys.executable, '-m', 'penstock', 'watch', '--with-parent', f'--db={FROM_PARENT}', "
            "*flags]",
        ],
    ),
    "penstock/bench/running.py": (
        "flags that are constants of the bench",
        [
            "import subprocess",
            "subprocess.Popen(command, env={**os.environ, 'PENSTOCK_DB': db.address})",
            "command = [sys.executable, '-m', 'penstock', service, '--no-plugins', '--log-level', 'error', *flags]",
        ],
    ),
}
"""File -> what its command lines are made of, and every line of it that a reader should see again before it changes:
imports, starts, and where the command comes from."""


def starts(source: str) -> Iterator[str]:
    """What starts a process, or may: imports of such modules, and calls, as Python writes them."""
    if not re.search(rf"\b({MODULES.pattern})\b|\b{CALLS.pattern}\b", source):
        return  # most files: to parse them takes longer
    for node in ast.walk(ast.parse(source)):
        if _imports(node) or _calls(node):
            yield ast.unparse(node)


def _imports(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(MODULES.fullmatch(one.name) for one in node.names)
    if not isinstance(node, ast.ImportFrom):
        return False
    names = [one.name for one in node.names]
    modules = [node.module or "", *(f"{node.module}.{name}" for name in names)]
    return any(map(MODULES.fullmatch, modules)) or any(map(CALLS.fullmatch, names))


def _calls(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    module, _, name = ast.unparse(node.func).rpartition(".")
    return bool(CALLS.fullmatch(name) or MODULES.fullmatch(module))


def test_processes_are_started_in_known_places_alone() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        if places := list(starts(path.read_text())):
            found[path.relative_to(ROOT).as_posix()] = places
    for name, places in found.items():
        known = PLACES.get(name, ("", []))[1]
        assert set(places) <= set(known), f"{name}: say in PLACES what its command line is made of"
    assert set(found) == set(PLACES), "what is gone is taken out of PLACES"


@pytest.mark.parametrize("name", PLACES)
def test_their_commands_are_made_of_what_is_said(name: str) -> None:
    written = {ast.unparse(node) for node in ast.walk(ast.parse((ROOT / name).read_text())) if hasattr(node, "lineno")}
    assert [line for line in PLACES[name][1] if line not in written] == []


@pytest.mark.parametrize(
    "planted",
    [
        "import subprocess as s\ns.run([row.program])",
        "from subprocess import run",
        "from os import execv",
        "import os\nos.spawnlp(os.P_WAIT, task.parameters)",
        "import asyncio\nasyncio.create_subprocess_exec(row.program)",
        "from asyncio import subprocess",
        "from concurrent.futures import ProcessPoolExecutor",
        "import multiprocessing",
        "psutil.Popen(row.program)",
        "loop.subprocess_exec(protocol, row.program)",
    ],
)
def test_what_is_planted_is_found(planted: str) -> None:
    assert list(starts(planted))
