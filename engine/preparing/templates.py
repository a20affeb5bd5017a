"""Templates in parameters: rendered when the task runs, once, and only where the definition marked them.

`kr_task_stat.templates` names them. What a registration, a program or a mapping gave is never read as a template.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from jinja2 import Template, TemplateSyntaxError, Undefined

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.definition.secret_references import has_references, is_reference, problem_of, references_in
from engine.definition.template_marks import is_marked, texts_in
from engine.errors import PenstockError
from engine.preparing.refusals import Refused
from engine.preparing.scoping import Scoping
from engine.preparing.template_budget import MAX_CHARS, BadTemplate, budget, room_for
from engine.preparing.template_filters import date_of, plain
from engine.preparing.template_language import MAX_SOURCE, Language, Made
from engine.states import Reason

DATES: Final = ("date", "ds", "ds_nodash", "yesterday_ds", "tomorrow_ds")
NAMES: Final = ("params", "results", "flow", "run_key", "task", *DATES)
"""What a template may name."""
MAX_TEMPLATES: Final = 1_000
MARKS: Final = ("{{", "{%", "{#")
_FLOW_NAMES: Final = frozenset({"flow", "run_key", *DATES})
_LANGUAGE: Final = Language()


def rendered(
    task: ClaimedTask, parameters: dict[str, Any], flow_parameters: Mapping[str, Any], read: Scoping
) -> dict[str, Any]:
    """The parameters with their templates rendered. Errors: Refused, naming the parameter and the line."""
    if task.templates is None:
        return parameters
    scope = _Scope(task, flow_parameters, read)
    names = _names(task.templates)
    _refuse_many(parameters, names)
    done = dict(parameters)
    with budget():
        for name in names:
            if name in parameters:
                done[name] = _rendered(name, parameters[name], scope)
    return done


def secrets_of(task: ClaimedTask, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of the parameters that the definition marked, those that refer to secrets. Errors: Refused."""
    if task.templates is None:
        return {}
    names = _names(task.templates)
    return {name: parameters[name] for name in names if name in parameters and has_references(parameters[name])}


def check(parameters: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """What is wrong with the templates among these parameters, as far as it shows without data."""
    problems: list[str] = []
    for name in names:
        found = map(problem_of, references_in(parameters.get(name)))
        problems += [f"parameter {name!r}: {words}" for words in found if words is not None]
        for source in _sources(parameters.get(name)):
            try:
                _made(source)
            except Exception as error:
                problems.append(f"parameter {name!r}{_line_of(error, None)}: {_words(error)}")
    return problems


def _sources(value: Any) -> Iterator[str]:
    return (text for text in texts_in(value) if is_marked(text, MARKS))


def _names(text: str) -> list[str]:
    try:
        names = jsontext.loads(text)
    except jsontext.NotJSON as error:
        raise Refused(Reason.BAD_PARAMETERS, f"templates {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(Reason.BAD_PARAMETERS, "templates must be a JSON array of parameter names")
    return list(dict.fromkeys(names))


def _refuse_many(parameters: Mapping[str, Any], names: Collection[str]) -> None:
    sources = [source for name in names for source in _sources(parameters.get(name))]
    if len(sources) > MAX_TEMPLATES or sum(map(len, sources)) > MAX_SOURCE:
        words = f"the templates have {sum(map(len, sources)):,} characters in {len(sources):,} texts"
        raise Refused(
            Reason.BAD_PARAMETERS, f"{words}, at most {MAX_SOURCE:,} characters in {MAX_TEMPLATES:,} are rendered"
        )


def _rendered(name: str, value: Any, scope: _Scope) -> Any:
    if isinstance(value, str):
        return _one(name, value, scope) if is_marked(value, MARKS) else value
    if is_reference(value):
        return value  # for whoever runs the program
    if isinstance(value, dict):
        return {key: _rendered(name, item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(name, item, scope) for item in value]
    return value


def _one(name: str, source: str, scope: _Scope) -> Any:
    template = None
    try:
        template, native, used = _made(source)
        return _value(template, native, scope.of(used))
    except (PenstockError, Refused):
        raise
    except Exception as error:  # whatever a template does, it is the template that is wrong
        words = f"parameter {name!r}{_line_of(error, template)}: {_words(error)}"
        raise Refused(Reason.BAD_PARAMETERS, words) from None


@lru_cache(maxsize=256)
def _made(source: str) -> Made:
    return _LANGUAGE.made(source, NAMES)


def _value(template: Template, native: bool, scope: Mapping[str, Any]) -> Any:
    """The value of a single expression with its type, or the text. Errors: whatever the template raises."""
    context = template.new_context(dict(scope))
    parts: list[str] = []
    size = 0
    for part in template.root_render_func(context):
        parts.append(part)
        size += len(part)
        if size > MAX_CHARS:
            room_for(size)
    if not native:
        return "".join(parts)
    value = context.vars["value"]
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    return jsontext.loads(jsontext.dumps(plain(value), max_bytes=jsontext.MAX_RESULT_BYTES))


class _Scope:
    """What templates see of one task; the flow and its results are read if a template names them."""

    def __init__(self, task: ClaimedTask, flow_parameters: Mapping[str, Any], read: Scoping) -> None:
        self._task = task
        self._read = read
        self._known: dict[str, Any] = {"params": flow_parameters, "task": _about(task)}

    def of(self, used: frozenset[str]) -> dict[str, Any]:
        missing = used - self._known.keys()
        if "results" in missing:
            self._known |= self._read.scope(self._task.key.flow_id, ("results",))
        if missing & _FLOW_NAMES:
            self._known |= _flow(self._read.scope(self._task.key.flow_id, ("flow",))["flow"])
        return {name: self._known[name] for name in used if name in self._known}


def _about(task: ClaimedTask) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "task_seq": task.task_seq,
        "exec_seq": task.key.seq,
        "name": task.name,
        "attempt": task.attempt,
    }


def _flow(flow: Mapping[str, Any]) -> dict[str, Any]:
    """The flow, its run key and its dates: of the run key if it says a date, else of the registration."""
    found: dict[str, Any] = {"flow": flow, "run_key": flow["run_key"]}
    day = date_of(flow["run_key"] or "")
    if day is None and flow["registered_ts"]:
        day = datetime.fromisoformat(flow["registered_ts"]).date()
    return found if day is None else found | _dates(day)


def _dates(day: date) -> dict[str, Any]:
    plain_day = date(day.year, day.month, day.day)
    dates = {"date": day, "ds": plain_day.isoformat(), "ds_nodash": plain_day.strftime("%Y%m%d")}
    for name, days in (("yesterday_ds", -1), ("tomorrow_ds", 1)):
        try:
            dates[name] = (plain_day + timedelta(days)).isoformat()
        except OverflowError:  # the calendar ends there
            continue
    return dates


def _line_of(error: BaseException, template: Template | None) -> str:
    line = getattr(error, "lineno", None) if isinstance(error, TemplateSyntaxError | BadTemplate) else None
    if line is None and template is not None:
        line = 1  # of a single expression that names what there is not
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == "<template>" and frame.lineno is not None:
                line = template.get_corresponding_lineno(frame.lineno)
    return f", line {line}" if line is not None else ""


def _words(error: BaseException) -> str:
    match error:
        case RecursionError() | MemoryError():
            return "is too deeply nested"
        case BadTemplate() | TemplateSyntaxError():
            return str(error.args[0] if error.args else error)[:1_000]
        case ValueError() if "integer string conversion" in str(error):
            return "a number has too many digits"
        case ZeroDivisionError():
            return "divides by zero"
    return f"{' '.join(str(error).split())[:1_000] or type(error).__name__}"
