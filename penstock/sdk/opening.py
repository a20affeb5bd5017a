"""Where a client goes that was not told, and as whom."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

USUAL_URL: Final = "http://127.0.0.1:8000"


def address(url: str | None) -> str:
    """The service: as given, or PENSTOCK_URL, or the one that `penstock up` starts. Errors: ValueError for a URL that
    is not of HTTP."""
    found = url or os.environ.get("PENSTOCK_URL") or USUAL_URL
    if not found.startswith(("http://", "https://")):
        raise ValueError(
            f"{found!r} is no address of a service: write http://host:port, or use Client.of_database for a database"
        )
    return found


def api_token(token: str | None) -> str | None:
    """As given, or PENSTOCK_TOKEN, or what stands in the file that PENSTOCK_TOKEN_FILE names. Errors: OSError for a
    file that cannot be read."""
    found = token or os.environ.get("PENSTOCK_TOKEN")
    if not found and (path := os.environ.get("PENSTOCK_TOKEN_FILE")):
        found = Path(path).read_text().strip()
    return found or None


def person() -> str:
    """Who is recorded to have asked, where a database is opened without a token: the user of the process."""
    with suppress(OSError, KeyError):  # a process in a container may have no name
        return getpass.getuser()
    return "sdk"
