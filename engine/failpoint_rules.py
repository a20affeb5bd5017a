"""The little language of PENSTOCK_FAILPOINTS: `point=action[:seconds][@share|@#nth][/most]`, several parted by `;`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ACTIONS: Final = ("kill", "exit", "raise", "lose", "sleep", "stop", "note")
_RULE = re.compile(
    r"(?P<pattern>[a-z_.*?]+)=(?P<action>[a-z]+)(?::(?P<seconds>\d+(?:\.\d+)?))?"
    r"(?:@(?:#(?P<nth>\d+)|(?P<share>\d*\.?\d+)))?(?:/(?P<most>\d+))?"
)


@dataclass(frozen=True)
class Rule:
    """At the points that `pattern` matches (`*` and `?` as in names of files), do `action`: always, with a probability
    (`share`, 0 to 1), or at the hit number `nth`; at most `most` times. Units: seconds."""

    pattern: str
    action: str
    seconds: float = 0.0
    share: float = 1.0
    nth: int | None = None
    most: int | None = None


def read_rules(spec: str) -> list[Rule]:
    """The rules in the order written: at each hit the first one that acts is the only one. Errors: ValueError."""
    return [_rule(part.strip()) for part in spec.split(";") if part.strip()]


def _rule(text: str) -> Rule:
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} cannot be read: write point=action[:seconds][@share|@#nth][/most]")
    action, seconds, share = found["action"], found["seconds"], float(found["share"] or 1)
    if action not in ACTIONS:
        raise ValueError(f"{text!r} has no action {action!r}: there are {', '.join(ACTIONS)}")
    if action == "sleep" and seconds is None:
        raise ValueError(f"{text!r} does not say for how long: write sleep:0.5")
    if seconds is not None and action not in ("sleep", "stop"):
        raise ValueError(f"{text!r} has seconds, which only sleep and stop have")
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} has a probability outside of 0 to 1")
    nth, most = (int(number) if (number := found[name]) else None for name in ("nth", "most"))
    return Rule(found["pattern"], action, float(seconds or 0), share, nth, most)
