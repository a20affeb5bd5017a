"""Where a client goes that was not told."""

from __future__ import annotations

import os
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
