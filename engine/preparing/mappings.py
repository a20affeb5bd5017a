"""Input and output mapping: parameters worked out before a run, and what is kept of its result.

Both are JSON objects of name -> expression. What is worked out is data: it is never read as a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.errors import BadExpression
from engine.expression.evaluator import check, evaluate, names_in
from engine.preparing.refusals import Refused
from engine.preparing.scoping import Scoping
from engine.row_checks import MAX_PARAMETERS_BYTES
from engine.states import Reason

INPUT_NAMES: Final = ("params", "results", "flow")
OUTPUT_NAMES: Final = ("result", *INPUT_NAMES)


def worked_out(task: ClaimedTask, flow_parameters: Mapping[str, Any], read: Scoping) -> dict[str, Any]:
    """The parameters of `input_mapping`, {} without one. Errors: Refused, naming the entry and its expression."""
    if task.input_mapping is None:
        return {}
    return _Mapping("input_mapping", Reason.BAD_PARAMETERS, INPUT_NAMES).of(
        task.input_mapping, task, read, params=flow_parameters
    )


def kept(task: ClaimedTask, result: Any, flow_parameters: Mapping[str, Any], read: Scoping) -> Any:
    """What `output_mapping` keeps of a result; the result itself without one. Errors: Refused."""
    if task.output_mapping is None:
        return result
    try:
        document = jsontext.loads(jsontext.dumps(result))  # as the expressions of later tasks would read it
    except jsontext.NotJSON as error:
        raise Refused(Reason.BAD_RESULT, f"the result {error}") from None
    mapping = _Mapping("output_mapping", Reason.BAD_RESULT, OUTPUT_NAMES)
    return mapping.of(task.output_mapping, task, read, params=flow_parameters, result=document)


class _Mapping:
    """One of the two columns: its name, why a task is suspended over it, and what its expressions may name."""

    def __init__(self, column: str, reason: str, known: tuple[str, ...]) -> None:
        self._column = column
        self._reason = reason
        self._known = known

    def of(self, text: str, task: ClaimedTask, read: Scoping, **own: Any) -> dict[str, Any]:
        entries = self._entries(text)
        used = self._names(entries) - own.keys()
        scope = own | (read.scope(task.key.flow_id, used) if used else {})
        return {name: self._value(name, expression, scope) for name, expression in entries.items()}

    def _entries(self, text: str) -> dict[str, Any]:
        try:
            return jsontext.loads_object(text, max_bytes=MAX_PARAMETERS_BYTES)
        except jsontext.NotJSON as error:
            raise Refused(self._reason, f"{self._column} {error}") from None

    def _names(self, entries: Mapping[str, Any]) -> set[str]:
        used: set[str] = set()
        for name, expression in entries.items():
            if not isinstance(expression, str):
                raise self._refusal(name, f"must be an expression, as text, and is {jsontext.dumps(expression)[:200]}")
            try:
                check(expression, self._known)
                used |= names_in(expression)
            except BadExpression as error:
                raise self._refusal(name, str(error)) from None
        return used

    def _value(self, name: str, expression: str, scope: Mapping[str, Any]) -> Any:
        try:
            return evaluate(expression, scope)
        except BadExpression as error:
            raise self._refusal(name, str(error)) from None

    def _refusal(self, name: str, words: str) -> Refused:
        return Refused(self._reason, f"{self._column} {name!r}: {words}")
