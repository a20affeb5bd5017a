"""Logs of the servers: key=value lines for people, or one JSON object a line, always on stderr.

Rows and requests say much of what stands in them: it neither looks like a line of its own nor moves a cursor.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from penstock.visible import visible, visible_json, visible_line


def set_up(level: str = "info", *, as_json: bool = False) -> None:
    """Send structlog's and the standard library's records through one formatter."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderers: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(visible_json)]
        if as_json
        else [_shown, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_traceback)]
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_not_a_task)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("urllib3", "uvicorn", "sqlalchemy.engine", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # a traceback for each connection that was cut


def _shown(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: visible_line(value) if isinstance(value, str) else value for key, value in event.items()}


def _traceback(into: TextIO, error: Any) -> None:
    """Without the values of variables, which structlog shows otherwise: secrets are among them."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, error)
    into.write(textwrap.indent(visible(plain.getvalue()), "  ", lambda line: True))


class _Handler(logging.StreamHandler[Any]):
    """Whoever read the log may go away, as a pager does: a service works on without it."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stderr.fileno())  # nor may the end of the process fail to flush what is left
            os.close(null)
        else:
            super().handleError(record)


def _not_a_task(record: logging.LogRecord) -> bool:
    """What programs log belongs to their attempts, not into the server's log."""
    return record.name != "penstock.task"
