"""What a start says of installed plugins. All are named; those on no list are warned of where the work is others' too,
and refused where others reach the service. Why: docs/decisions/0006."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from engine.dialects.tls import is_near
from penstock.failures import CannotStart
from penstock.options import plugin_list
from programs.allowed import AllowList
from programs.installed import Installed, installed, pins_of
from register.settings import Settings

log = structlog.get_logger("penstock")
Plugins = str | list[str] | None
_WORK_OF_OTHERS: Final = (
    "plugins are loaded that no list names, and others may ask for their programs from other machines; to load these as"
    " they are now, and no others, set PENSTOCK_PLUGINS="
)


def refuse_unlisted(settings: Settings, plugins: Plugins, no_plugins: bool) -> None:
    """Before anything is imported. Errors: CannotStart where others reach the service, plugins are installed, and
    nobody has said which of them may be loaded."""
    if plugins is not None or no_plugins or (settings.is_local and not settings.behind_proxy):
        return
    if there := installed():
        where = (
            "a proxy lets others in" if settings.is_local else f"{settings.host or '*'} can be reached from elsewhere"
        )
        raise CannotStart(
            f"{where}, and plugins are installed that no list names ({_names(there)}); none was imported. To load them"
            f" as they are now, set PENSTOCK_PLUGINS={pins_of(there)} (a name alone allows every version of it);"
            " to load none, give --no-plugins"
        )


def tell_of_plugins(plugins: Plugins, no_plugins: bool, host: str | None) -> None:
    """Say once, at start, which plugins are loaded and which are not. `host`: of the database or the service whose
    tasks are run; None: of none, or a file."""
    loaded, left_out = sorted_out(plugins, no_plugins)
    if loaded or left_out:
        log.info("plugins", loaded=_names(loaded), not_loaded=_names(left_out))
    if loaded and plugins is None and not is_near(host or ""):
        log.warning(_WORK_OF_OTHERS + pins_of(loaded))


def sorted_out(plugins: Plugins, no_plugins: bool) -> tuple[list[Installed], list[Installed]]:
    """What is installed, by whether it is loaded where a catalogue could be built."""
    allowed = AllowList(plugin_list(plugins), autoload=not no_plugins)
    there = installed()
    return [one for one in there if allowed.names(one)], [one for one in there if not allowed.names(one)]


def _names(distributions: Sequence[Installed]) -> str:
    return ", ".join(found.label for found in distributions) or "none"
