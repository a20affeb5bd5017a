"""The environment of children: the watcher's own without what only the watcher needs to know."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

_OWN: Final = re.compile(r"PENSTOCK_|DB_", re.IGNORECASE)
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY|DSN|DATABASE", re.IGNORECASE)
_HAS_PASSWORD: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@]*:[^/\s@]*@", re.IGNORECASE)
_PYTHON: Final = re.compile(r"PYTHON[A-Z]*$")


def scrubbed(environment: Mapping[str, str], allowed: Collection[str] = ()) -> dict[str, str]:
    """What a child gets: no Penstock settings, no database, nothing whose name looks like that of a secret, and no URL
    with a password in it. `allowed`: names that an operator lets through all the same."""
    return {name: value for name, value in environment.items() if name in allowed or _is_harmless(name, value)}


def _is_harmless(name: str, value: str) -> bool:
    if _PYTHON.match(name):
        return True
    return not (_OWN.match(name) or _SECRET.search(name) or _HAS_PASSWORD.search(value))
