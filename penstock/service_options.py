"""Options of the HTTP service: where it listens, whom it lets in, whose paths it answers."""

from __future__ import annotations

import functools
from typing import Any

import click

from penstock.access_options import access_options
from penstock.options import F

_OPTIONS = (
    click.option("--host", "-webhost", envvar="PENSTOCK_HOST", help="Address to listen on. [default: 127.0.0.1]"),
    click.option(
        "--port", "-webport", envvar="PENSTOCK_PORT", type=int, help="Port; 0 takes any free one. [default: 8000]"
    ),
    click.option(
        "--compat/--no-compat",
        envvar="PENSTOCK_COMPAT",
        default=True,
        show_default=True,
        help="Answer the paths of Waterflow and of synergy_flow too.",
    ),
    click.option(
        "--ui-origin",
        "ui_origins",
        envvar="PENSTOCK_UI_ORIGINS",
        multiple=True,
        metavar="ORIGIN",
        help="Let pages of this origin read Waterflow's counts; repeatable.",
    ),
)
"""Flower's two flags are among the names."""


def service_options(function: F) -> F:
    """Handed on together, as `service`: what `Settings` of the register takes."""

    @functools.wraps(function)
    def wrapped(
        *args: Any,
        host: str | None,
        port: int | None,
        compat: bool,
        ui_origins: tuple[str, ...],
        access: dict[str, Any],
        **options: Any,
    ) -> Any:
        where = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        service = {**where, "compat": compat, "ui_origins": ui_origins, **access}
        return function(*args, service=service, **options)

    command: Any = access_options(wrapped)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[no-any-return]
