"""Who asks, where nobody says: the token of the environment, and the user of the process."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

UNKNOWN = "unknown"


def token_of(given: str | None) -> str | None:
    """As given, or PENSTOCK_TOKEN, or what stands in the file that PENSTOCK_TOKEN_FILE names. Errors: OSError and
    UnicodeDecodeError for a file that cannot be read."""
    found = given or os.environ.get("PENSTOCK_TOKEN")
    if not found and (path := os.environ.get("PENSTOCK_TOKEN_FILE")):
        found = Path(path).read_text().strip()
    return found or None


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return UNKNOWN
