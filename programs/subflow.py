"""A workflow as a step of another."""

from typing import Annotated, Any

from pydantic import Field

from programs.contract import Arrival, Call, Program
from programs.outcomes import Await, Fail, Finish, Outcome

CANCELLED = 9  # the flow_status of a flow that ended otherwise than by finishing

Given = Annotated[dict[str, Any], Field(description="parameters of the registration")]


class SubFlow(Program):
    """Run the workflow WORKFLOW as a flow of its own, and finish with its result. Safe to repeat.

    While a task of that flow is suspended, this one waits for its repair.
    """

    name = "SubFlow"

    def run(
        self,
        call: Call,
        WORKFLOW: Annotated[str, Field(min_length=1, max_length=256, description="task_id of the workflow")],
        PARAMETERS: Given = {},  # noqa: B006 - read only
        RUN_KEY: Annotated[str | None, Field(description="the period or business key that the flow stands for")] = None,
    ) -> Outcome:
        ended = [arrival for arrival in call.arrivals if arrival.kind == "flow"]
        if ended:
            return _outcome(WORKFLOW, ended[-1])
        details = {"parameters": PARAMETERS, "run_key": RUN_KEY}
        return Await("flow", name=WORKFLOW, details={name: value for name, value in details.items() if value})


def _outcome(workflow: str, ended: Arrival) -> Outcome:
    told = ended.payload
    if not isinstance(told, dict):
        return Fail(f"nothing is known of the end of the flow of {workflow}", retry=False)
    if told.get("status") == CANCELLED:
        why = told.get("reason") or "cancelled"
        return Fail(f"flow {told.get('flow_id')} of {workflow} did not finish: {why}", retry=False)
    return Finish(told.get("result"))
