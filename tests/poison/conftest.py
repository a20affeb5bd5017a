"""Where the poison is kept."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # poison, task_rows, flow_rows, live
