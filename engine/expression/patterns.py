"""How much work a regular expression is: linear in the text, but with a factor that counted repeats can drive up."""

from __future__ import annotations

import re
from typing import Final

MAX_WEIGHT: Final = 1_000
CLASS_WEIGHT: Final = 10
_CLASS: Final = re.compile(r"\\[wWdDsSbBpP]|\[\^|\[\[|\(\?|[^\x00-\x7f]")
_REPEAT: Final = re.compile(r"\{\s*([0-9]*)\s*,?\s*([0-9]*)\s*\}")


def weight_of(literal: str) -> int:
    """About how many states the pattern has: its length, classes of all Unicode ten times, times every repeat count.

    Errors: ValueError for a pattern beyond the bound; the words say what to write instead.
    """
    weight = len(literal) + CLASS_WEIGHT * len(_CLASS.findall(literal))
    for low, high in _REPEAT.findall(literal):
        weight *= max(1, int(low or 0), int(high or 0))
        if weight > MAX_WEIGHT:
            break
    if weight > MAX_WEIGHT:
        raise ValueError("the pattern is too costly: shorten it, or repeat less (as in {1,100})")
    return weight
