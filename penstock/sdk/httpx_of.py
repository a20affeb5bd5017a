"""Which httpx: the one place that knows.

`httpx2` is httpx as its users go on with it (kept by Pydantic); httpx itself has had no release since December 2024.
`penstock[async]` installs httpx2; where only httpx is there, it does as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    try:
        import httpx2 as httpx
    except ModuleNotFoundError:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("AsyncClient needs httpx2: pip install 'penstock[async]'") from error

__all__ = ["httpx"]
