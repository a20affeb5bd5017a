"""The filters and tests of templates: an allow-list, each of them within the budget, over JSON data and dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from jinja2 import Undefined, pass_context
from jinja2 import filters as jinjas
from jinja2 import tests as jinjas_tests
from jinja2.runtime import Context

from engine import jsontext
from engine.preparing.template_budget import MAX_CHARS, BadTemplate, kind, room_for, weighed

MAX_RANGE: Final = 10_000
_PARTS: Final = frozenset({"years", "months", "weeks", "days", "hours", "minutes", "seconds"})
_FORMAT: Final = re.compile(r"(?:%[aAbBdHIjmMpSUwWyYfzZGuV%]|[^%\x00])*")


def text_of(value: Any) -> str:
    """A value as it is written: texts as they are, dates in ISO, null as nothing, everything else as JSON."""
    if isinstance(value, Undefined):
        return str(value)  # says what is missing
    if isinstance(weighed(value), str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    return json_text(value)


def json_text(value: Any) -> str:
    try:
        return jsontext.dumps(plain(value), max_bytes=MAX_CHARS)
    except jsontext.NotJSON as error:
        raise BadTemplate(f"the value {error}") from None


def plain(value: Any) -> Any:
    """A value as JSON data: dates as ISO text, tuples as lists."""
    match value:
        case Undefined():
            return str(value)
        case date():
            return value.isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
    raise BadTemplate(f"the value is {kind(value)}, which is not JSON")


def joined(values: Any, between: str = "") -> str:
    """The values as texts, one behind the other."""
    if not isinstance(values, list | tuple | str) or not isinstance(between, str):
        raise BadTemplate(f"join takes a list and a text, not {kind(values)} and {kind(between)}")
    texts = [text_of(value) for value in values]
    room_for(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def _replace(text: str, old: str, new: str) -> str:
    _need_texts("replace", text, old, new)
    if not old:
        raise BadTemplate("replace needs a text to look for")
    room_for(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _split(text: str, between: str) -> list[str]:
    _need_texts("split", text, between)
    if not between:
        raise BadTemplate("split needs a text to split at")
    return text.split(between)


def _sum(values: Any) -> Any:
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        raise BadTemplate("sum takes a list of numbers")
    return sum(values)


def _round(number: Any, digits: int = 0) -> Any:
    if not isinstance(number, int | float) or not isinstance(digits, int) or abs(digits) > 30:
        raise BadTemplate("round takes a number, and at most 30 digits")
    return round(number, digits)


def _reverse(values: Any) -> Any:
    if not isinstance(values, list | tuple | str):
        raise BadTemplate(f"reverse takes a list or a text, not {kind(values)}")
    return values[::-1]


def _length(value: Any) -> int:
    if not isinstance(value, list | tuple | str | Mapping | range):
        raise BadTemplate(f"{kind(value)} has no length")
    return len(value)


def _need_texts(name: str, *values: Any) -> None:
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise BadTemplate(f"{name} takes texts, not {kind(wrong[0])}")


def a_range(*bounds: int) -> list[int]:
    """range(stop), range(start, stop), range(start, stop, step): at most MAX_RANGE numbers."""
    if not 1 <= len(bounds) <= 3 or not all(isinstance(bound, int) for bound in bounds):
        raise BadTemplate("range takes one to three whole numbers")
    numbers = list(islice(range(*bounds), MAX_RANGE + 1))
    if len(numbers) > MAX_RANGE:
        raise BadTemplate(f"range makes more than {MAX_RANGE:,} numbers")
    return weighed(numbers)  # type: ignore[no-any-return]


def _plus(day: Any, sign: int = 1, **parts: int) -> Any:
    """A date or an instant so much later; the last of a month stays within the month that it comes to."""
    if unknown := parts.keys() - _PARTS:
        raise BadTemplate(f"a date has no {min(unknown)!r}; there are {', '.join(sorted(_PARTS))}")
    if not all(isinstance(count, int) and abs(count) < 10**10 for count in parts.values()):
        raise BadTemplate("dates are moved by whole numbers")
    return _a_date(day) + relativedelta(**{name: sign * count for name, count in parts.items()})  # type: ignore[arg-type]


def _minus(day: Any, **parts: int) -> Any:
    return _plus(day, -1, **parts)


def _strftime(day: Any, pattern: str) -> str:
    _need_texts("strftime", pattern)
    if len(pattern) > 200 or not _FORMAT.fullmatch(pattern):
        raise BadTemplate(f"strftime does not take the format {pattern[:50]!r}")
    return _a_date(day).strftime(pattern)


def _a_date(value: Any) -> date:
    """A date, or a text that is one, as params give them."""
    if isinstance(value, date):
        return value
    if isinstance(value, str) and (found := date_of(value)):
        return found
    raise BadTemplate(f"this takes a date, not {kind(value)}")


def date_of(text: str) -> date | None:
    """The date, or the instant if it has a time, that an ISO text says; None for any other text."""
    if not re.match(r"\d{4}-\d{2}-\d{2}(?:[T ]|$)", text):
        return None
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        return None


def _within(name: str, work: Any) -> Callable[..., Any]:
    """Spend the size of what goes in and of what comes out, which is never lazy."""
    wanted = getattr(getattr(work, "jinja_pass_arg", None), "name", "")  # what Jinja hands to its own filters first

    @pass_context
    def spending(context: Context, *args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            weighed(value)
        given = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        try:
            found = work(given[wanted], *args, **options) if wanted else work(*args, **options)
        except (TypeError, AttributeError):
            given_to = ", ".join(kind(value) for value in (*args, *options.values()))
            raise BadTemplate(f"{name!r} does not take what it is given: {given_to}") from None
        if not isinstance(found, str | int | float | list | tuple | Mapping | date | Undefined | None):
            found = list(found)
        return weighed(found)

    return spending


_PLAIN: Final = (
    *(
        "abs",
        "capitalize",
        "d",
        "default",
        "dictsort",
        "first",
        "float",
        "int",
        "items",
        "last",
        "list",
        "lower",
        "map",
    ),
    *("max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "title", "trim", "unique", "upper"),
    "urlencode",
)
_OWN: Final[dict[str, Callable[..., Any]]] = {
    "count": _length,
    "join": joined,
    "length": _length,
    "minus": _minus,
    "plus": lambda day, **parts: _plus(day, 1, **parts),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "split": _split,
    "strftime": _strftime,
    "string": text_of,
    "sum": _sum,
    "tojson": json_text,
}
_TESTS: Final = (
    *(
        "boolean",
        "defined",
        "divisibleby",
        "even",
        "false",
        "float",
        "in",
        "integer",
        "mapping",
        "none",
        "number",
        "odd",
    ),
    *("sequence", "string", "true", "undefined", "eq", "==", "equalto", "ne", "!=", "lt", "<", "lessthan", "le", "<="),
    *("gt", ">", "greaterthan", "ge", ">="),
)
FILTERS: Final = {name: _within(name, jinjas.FILTERS[name]) for name in _PLAIN} | {
    name: _within(name, work) for name, work in _OWN.items()
}
TESTS: Final = {name: _within(name, jinjas_tests.TESTS[name]) for name in _TESTS}
