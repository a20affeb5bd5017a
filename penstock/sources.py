"""Where settings come from: flags, then the environment, then a TOML file, then defaults.

The file has one table per command and the database at the top:

    db = "postgresql+psycopg://penstock@localhost/penstock"
    [watch]
    workers = 20
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.failures import CannotStart

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DEFAULT_FILE = "penstock.toml"
DEFAULT_DB = "sqlite:///penstock.db"
_SHARED = frozenset({"db", "url", "plugins"})
"""Settings above all tables: of every command that has such a flag."""
_GROUPS = {
    "db": ("init", "upgrade", "check", "reset"),
    "token": ("create", "list", "revoke"),
    "principal": ("set", "drop", "list"),
}
_FLOWER = ("DB_USER", "DB_PASS", "DB_HOST", "DB_PORT", "DB_NAME")
_KINDS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}


def load_config(
    path: str | None, commands: Sequence[str], command_called: Callable[[str], click.Command | None]
) -> dict[str, Any]:
    """click's default_map from a TOML file. `commands` names all; `command_called` finds one, whose flags are the
    file's keys.

    Errors: CannotStart for an unreadable file or a key that nobody knows.
    """
    file = Path(path or DEFAULT_FILE)
    if path is None and not file.exists():
        return {}
    try:
        found = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CannotStart(f"{file} cannot be read: {error}") from error
    shared = {key: _joined(value) for key, value in found.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in found.items() if isinstance(value, dict)}
    own = set(commands) - set(_GROUPS)
    unknown = sorted({*(shared.keys() - _SHARED), *(tables.keys() - own)})
    if unknown:
        raise CannotStart(f"{file}: unknown setting {', '.join(unknown)}")
    settings: dict[str, Any] = dict.fromkeys(own, shared)
    for name, table in tables.items():
        settings[name] = {**shared, **_flags(file, name, table, command_called(name))}
    for group, parts in _GROUPS.items():
        settings[group] = dict.fromkeys(parts, shared)
    return settings


def _flags(file: Path, name: str, table: dict[str, Any], command: click.Command | None) -> dict[str, Any]:
    """A table's keys as click names its parameters; unknown ones are refused, as a typing error would be silent."""
    options = [part for part in command.params if isinstance(part, click.Option)] if command else []
    known = {flag.lstrip("-").replace("-", "_"): option for option in options for flag in option.opts}
    known |= {str(option.name): option for option in options}
    flags = {key.replace("-", "_"): value for key, value in table.items()}
    if unknown := sorted(flags.keys() - known.keys()):
        raise CannotStart(f"{file}: [{name}] has no setting {', '.join(unknown)}")
    return {str(known[key].name): _as_given(known[key], value) for key, value in flags.items()}


def _as_given(option: click.Option, value: Any) -> Any:
    """A flag that may be repeated takes a list, and a single value is a list of one; others take lists with commas."""
    if option.multiple:
        return value if isinstance(value, list) else [value]
    return _joined(value)


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def database_url(given: str | None, source: str, flower: dict[str, Any]) -> str:
    """The database to use. A flag wins over the environment, and that over the file, whether Flower's or our own;
    the last resort is a SQLite file in this folder. `source` says where `given` is from, in click's words."""
    flags = {name: value for name, value in flower.items() if value is not None}
    set_names = [name for name in _FLOWER if os.environ.get(name)]
    if given and (source == "COMMANDLINE" or (not flags and (source == "ENVIRONMENT" or not set_names))):
        return given
    if not flags and not set_names:
        return DEFAULT_DB
    if not flags and len(set_names) < len(_FLOWER):
        missing = [name for name in _FLOWER if name not in set_names]
        raise CannotStart(f"{', '.join(missing)} must be set as {set_names[0]} is, or use PENSTOCK_DB alone")
    return _flower_url(flags).render_as_string(hide_password=False)


def _flower_url(flags: dict[str, Any]) -> URL:
    from sqlalchemy.engine import URL

    def pick(flag: str, variable: str, default: str) -> str:
        return str(flags.get(flag) or os.environ.get(variable) or default)

    kind = pick("dbkind", "DB_KIND", "postgresql")
    if kind not in _KINDS:
        raise CannotStart(f"DB_KIND {kind!r} is none of {', '.join(_KINDS)}")
    port = pick("dbport", "DB_PORT", "5432" if kind == "postgresql" else "3306")
    if not port.isdecimal():
        raise CannotStart(f"DB_PORT {port!r} is no number")
    return URL.create(
        _KINDS[kind],
        username=pick("dbuser", "DB_USER", "flower"),
        password=pick("dbpass", "DB_PASS", "") or None,
        host=pick("dbhost", "DB_HOST", "localhost"),
        port=int(port),
        database=pick("dbname", "DB_NAME", "flower"),
    )
