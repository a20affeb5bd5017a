"""`python -m tests.chaos`, as `make chaos` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from tests.chaos.command import main  # noqa: E402

if __name__ == "__main__":
    main()
