"""Build the services from what was asked for, and stop them cleanly on signals."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import structlog
from starlette.applications import Starlette

from engine import tokens
from engine.database import Database, wait_until_up
from engine.definition.reading import Check
from engine.definition.step import Step
from engine.definition.template_marks import templates_in
from engine.errors import BadRequest, DatabaseUnavailable
from engine.outages import AWAY, OUTAGES
from engine.preparing import templates
from engine.schema import verify
from penstock.environment import known_variables, unknown_variables
from penstock.failures import CannotStart, LeftBehind, Spent
from penstock.garbage import collect_seldom
from penstock.options import plugin_list
from programs.catalogue import Catalogue, build_catalogue
from programs.fitting import executor_misfits, misfits
from register import server
from register.access.exposure import Exposed, refuse_exposed
from register.access.pages import check_origins
from register.settings import Settings as ServerSettings
from watcher.loop import Watcher
from watcher.settings import Settings

log = structlog.get_logger("penstock")

_NAMES = {
    "workers": "workers",
    "interval": "interval_s",
    "limit": "limit",
    "lease": "lease_s",
    "heartbeat": "heartbeat_s",
    "heartbeat_in": "heartbeat_in",
    "stall": "stall_s",
    "statement_timeout": "statement_s",
    "grace": "grace_s",
    "ageing": "ageing_s",
    "log_interval": "log_interval_s",
    "label": "label",
    "sql_role": "sql_role",
    "secret_dir": "secret_dir",
    "retention": "retention_s",
    "async_slots": "async_slots",
    "max_stuck": "max_stuck",
    "max_losses": "max_losses",
    "stop_margin": "stop_margin_s",
    "child_memory_mb": "child_memory_mb",
    "child_max_rss_mb": "child_max_rss_mb",
    "child_max_processes": "child_max_processes",
    "child_tasks": "child_tasks",
    "db_wait": "db_wait_s",
}


def watcher_settings(options: dict[str, Any]) -> Settings:
    """The watcher's settings from its flags; what was not given keeps the watcher's own default."""
    given = {field: options[flag] for flag, field in _NAMES.items() if options.get(flag) is not None}
    if "heartbeat_s" not in given and "lease_s" in given:
        given["heartbeat_s"] = given["lease_s"] / 4
    overall, named = _max_active(options.get("max_active") or ())
    if queues := options.get("queues"):
        given["queues"] = tuple(queues)
    if patterns := options.get("secret_env"):
        given["secret_env"] = tuple(patterns)
    if allowed := options.get("child_env"):
        given["child_env"] = tuple(allowed)
    if networks := options.get("http_networks"):
        given["http_networks"] = tuple(networks)
    try:
        return Settings(
            **given,
            max_active=overall,
            max_active_of=named,
            ignore_satisfies=not options.get("ignore_blocks"),
            keep_all_attempts=bool(options.get("keep_attempts")),
        )
    except BadRequest as error:
        raise CannotStart(f"watcher settings: {error}") from error


def warn_of_variables() -> None:
    """Log what nobody meant: variables that set nothing."""
    for words in unknown_variables(os.environ, known_variables()):
        log.warning(words)


def _max_active(values: Sequence[str]) -> tuple[int | None, dict[str, int]]:
    overall: int | None = None
    named: dict[str, int] = {}
    for value in values:
        task_id, _, number = str(value).rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise CannotStart(f"--max-active {value!r}: write a number from 1, or WORKFLOW=number")
        if task_id:
            named[task_id] = int(number)
        else:
            overall = int(number)
    return overall, named


def catalogue(plugins: str | list[str] | None, no_plugins: bool) -> Catalogue:
    return build_catalogue(plugins=plugin_list(plugins), autoload=not no_plugins)


def listed(programs: Catalogue) -> list[dict[str, Any]]:
    """Each program as a document: name, description, executor, JSON schema of its parameters, plugin and version."""
    return [
        {
            "name": name,
            "description": entry.program.description,
            "executor": entry.program.chosen_executor,
            "parameters": entry.schema,
            "plugin": entry.plugin,
            "version": entry.version,
        }
        for name, entry in sorted(programs.items())
    ]


def program_check(programs: Catalogue) -> Check:
    """What registers ask of each step before they make a flow of it: does it fit the programs that are installed?"""

    def check(step: Step) -> list[str]:
        marked = templates_in(step.parameters)
        problems = misfits(programs, step.program, step.parameters, {*marked, *step.mapped})
        problems += templates.check(step.parameters, marked)
        where = step.options.get("executor"), bool(step.options.get("is_exclusive"))
        problems += executor_misfits(programs, step.program, *where)
        for name, phase in step.phases.items():
            marked = templates_in(phase.parameters)
            found = misfits(programs, phase.program, phase.parameters, marked)
            found += templates.check(phase.parameters, marked)
            problems += [f"{name}_program: {problem}" for problem in found]
        return problems

    return check


def await_database(db: Database, seconds: float, *, schema: bool = True) -> None:
    """Wait for the database at start, then for nothing else. Errors: CannotStart; the schema's."""
    then = partial(verify, db) if schema else lambda: None
    try:
        wait_until_up(db, seconds, on_wait=_waiting, then=then)
    except DatabaseUnavailable as error:
        raise CannotStart(str(error)) from error


def _waiting(words: str) -> None:
    if (left_out := OUTAGES.may_say(AWAY)) is not None:
        log.info("waiting for the database", error=words, left_out=left_out)


def server_settings(**options: Any) -> ServerSettings:
    """Errors: CannotStart for what would let anybody in, or show tokens on the way."""
    settings = ServerSettings(**options)
    try:
        refuse_exposed(settings)
        check_origins(settings.origins)
    except (Exposed, BadRequest) as error:
        raise CannotStart(str(error)) from error
    return settings


def tell_first_token(db: Database, settings: ServerSettings) -> None:
    """Say how to make the first token, where nobody could ask for anything yet."""
    if settings.tls_cert is None and not settings.is_local and not settings.behind_proxy:
        log.warning("tokens travel in clear text (--clear-text): whoever is in the network between can read them")
    if not settings.needs_token or settings.provider is not None:
        return
    with db.read() as conn:
        if not tokens.can_anybody_ask(conn):
            command = f"penstock token create NAME --role admin --db {db.url.render_as_string()}"
            log.warning("every request takes a token, and there is none yet: make the first one with: " + command)


def serve(app: Starlette, settings: ServerSettings) -> None:
    """Serve HTTP in the main thread until a signal, which is no failure."""
    collect_seldom()
    on_stop(lambda: None)  # the server has handlers of its own, and passes the signal on when it is done
    with _address(settings):
        server.serve(app, settings)


@contextmanager
def background(app: Starlette, settings: ServerSettings) -> Iterator[server.Background]:
    """Serve HTTP beside the caller."""
    with _address(settings):
        serving = server.Background(app, settings)
    with serving:
        yield serving


def run_watcher(watcher: Watcher, *, until_idle: bool = False) -> None:
    """Run a watcher until it is told to stop. Errors: CannotStart if the database does not come up in time; Spent if
    the process should be replaced by a new one."""
    collect_seldom()
    try:
        watcher.run(until_idle=until_idle)
    except DatabaseUnavailable as error:
        raise CannotStart(str(error)) from error
    if watcher.left_behind:
        raise LeftBehind(f"stopped, but {watcher.left_behind} tasks could not be handed back: their lease will lapse")
    if watcher.is_spent:
        raise Spent("too many programs did not come back in time: start this watcher anew")


@contextmanager
def _address(settings: ServerSettings) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise CannotStart(f"the certificate or its key cannot be used: {error}") from error
    except OSError as error:
        raise CannotStart(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` for each SIGTERM, SIGINT and SIGHUP; the third ends the process as if unhandled.

    SIGHUP, of a terminal that was closed, stays without effect where `nohup` asked for that.
    """
    received = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handle)
