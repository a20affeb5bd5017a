"""Programs that decide where a flow goes, for workflows written as rows alone."""

from typing import Annotated, Any

from pydantic import Field

from programs.contract import Call, Program
from programs.outcomes import Choose, Finish, Outcome

Steps = Annotated[list[str | int], Field(description="names or task_seq of the steps that are to run")]


class Value(Program):
    """Finish with VALUE as the result. Safe to repeat."""

    name = "Value"

    def run(self, call: Call, VALUE: Any = None) -> Outcome:
        return Finish(VALUE)


class ChooseSteps(Program):
    """Go on with STEPS alone of the steps behind this one. Safe to repeat."""

    name = "ChooseSteps"

    def run(self, call: Call, STEPS: Steps, VALUE: Any = None) -> Outcome:
        return Choose(*STEPS, result=VALUE)
