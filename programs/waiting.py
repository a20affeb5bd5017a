"""Waiting for others: for a message, for a person's approval, for a form to be filled in."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from programs.contract import Arrival, Call, Program
from programs.outcomes import Await, Fail, Finish, Outcome

MAX_NAME = 256


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator  # slow to import, and few processes run forms
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"expected a JSON Schema; at {error.json_path}: {error.message[:200]}") from None
    return schema


Text = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000, description="what is asked of people")]
Timeout = Annotated[float, Field(ge=0, description="seconds after which it is too late; left out: never")]
Candidates = Annotated[list[Text], Field(min_length=1, description="who may answer; left out: everybody")]
Schema = Annotated[dict[str, Any], AfterValidator(_schema), Field(description="a JSON Schema that the answer must fit")]
OrFinish = Literal["fail", "finish"]


class WaitForMessage(Program):
    """Wait for a message of this NAME and KEY; what it carries is the result. Safe to repeat."""

    name = "WaitForMessage"

    def run(
        self, call: Call, NAME: Text, KEY: Text, TIMEOUT_S: Timeout | None = None, ON_TIMEOUT: OrFinish = "fail"
    ) -> Outcome:
        arrival = _last(call, "message")
        if arrival is None:
            return Await("message", name=NAME, key=KEY, until=TIMEOUT_S)
        if not arrival.expired:
            return Finish(arrival.payload)
        return (
            Finish()
            if ON_TIMEOUT == "finish"
            else Fail(f"no message {NAME!r} for {KEY!r} {_within(TIMEOUT_S, 'came in time')}")
        )


class Approval(Program):
    """Ask people for their approval; their answer is the result. Safe to repeat."""

    name = "Approval"

    def run(
        self,
        call: Call,
        PROMPT: Prompt,
        CANDIDATES: Candidates | None = None,
        TIMEOUT_S: Timeout | None = None,
        REJECTED: OrFinish = "fail",
    ) -> Outcome:
        arrival = _last(call, "approval")
        if arrival is None:
            details = {"prompt": PROMPT} | ({"candidates": CANDIDATES} if CANDIDATES else {})
            return Await("approval", name=PROMPT[:MAX_NAME], until=TIMEOUT_S, details=details)
        if arrival.expired:
            return _nobody_answered(TIMEOUT_S)
        answer = arrival.payload
        if not isinstance(answer, Mapping) or not isinstance(answer.get("approved"), bool):  # answered by SQL
            return Fail('the answer is no approval: it has no boolean "approved"', retry=False)
        if not answer["approved"] and REJECTED == "fail":
            return Fail(f"not approved by {arrival.by or 'somebody'}", retry=False)
        return Finish(answer)


class Form(Program):
    """Ask a person to fill in a form; the answer is the result. Safe to repeat."""

    name = "Form"

    def run(
        self, call: Call, PROMPT: Prompt, SCHEMA: Schema | None = None, TIMEOUT_S: Timeout | None = None
    ) -> Outcome:
        arrival = _last(call, "form")
        if arrival is None:
            details = {"prompt": PROMPT} | ({"schema": SCHEMA} if SCHEMA is not None else {})
            return Await("form", name=PROMPT[:MAX_NAME], until=TIMEOUT_S, details=details)
        return _nobody_answered(TIMEOUT_S) if arrival.expired else Finish(arrival.payload)


def _last(call: Call, kind: str) -> Arrival | None:
    return next((arrival for arrival in reversed(call.arrivals) if arrival.kind == kind), None)


def _nobody_answered(timeout_s: float | None) -> Fail:
    return Fail(f"nobody answered {_within(timeout_s, 'in time')}")


def _within(timeout_s: float | None, otherwise: str) -> str:
    """A wait without an end of its own can still be given one, by SQL."""
    return otherwise if timeout_s is None else f"within {timeout_s:g} s"
