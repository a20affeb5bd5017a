"""Who asks, at the command line: the user of the operating system."""

from __future__ import annotations

import getpass

from engine import jsontext
from engine.access import Actor


def actor() -> Actor:
    """Whoever can open the database may do everything; the name is for the record."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a process of no user, as in some containers
        name = ""
    return Actor(jsontext.clean_text(name, 256) or "cli", door="cli")
