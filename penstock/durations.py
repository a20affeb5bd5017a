"""Durations as people write them: 90s, 30m, 12h, 30d."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import click

from engine.dialects.clock import MAX_DELAY_S

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def seconds_of(value: str) -> float:
    """Seconds of a duration. Errors: ValueError with words for a person."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", value, re.ASCII)
    if not found:
        raise ValueError(f"{value!r} is no duration: write a number and s, m, h, d or w, as in 90s, 12h or 30d")
    seconds = float(found[1]) * _UNITS[found[2]]
    if not math.isfinite(seconds) or seconds > MAX_DELAY_S:
        raise ValueError(f"{value!r} is more than a hundred years")
    return seconds


if TYPE_CHECKING:
    Type = click.ParamType[float]
else:  # older releases of click have it without what it makes
    Type = click.ParamType


class Duration(Type):
    """A duration on the command line, in the environment, or in the file of settings; handed on as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION: Final = Duration()
