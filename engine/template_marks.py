"""Which parameters are templates: found when a definition is compiled, stored with the run, rendered by the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def templates_in(parameters: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that hold a template, anywhere inside."""
    return [name for name, value in parameters.items() if "{{" in str(value) or "{%" in str(value)]
