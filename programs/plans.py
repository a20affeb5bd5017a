"""Programs that spread work over the items of a list, and bring the results together."""

from typing import Annotated, Any

from pydantic import Field

from programs.contract import Call, Program
from programs.outcomes import Fail, Finish, Outcome, Plan, Task

Items = Annotated[list[Any], Field(description="one task is made for each")]
Shared = Annotated[dict[str, Any], Field(description="parameters that every task gets besides its item")]
Most = Annotated[int, Field(ge=0, description="more items than this are refused")]


class ForEach(Program):
    """Run PROGRAM once for each of ITEMS, side by side, each as a task that gets its item as ITEM_KEY. Safe to repeat.

    What follows waits for all of them.
    """

    name = "ForEach"

    def run(
        self,
        call: Call,
        ITEMS: Items,
        PROGRAM: Annotated[str, Field(min_length=1, max_length=256, description="what each task runs")],
        PARAMETERS: Shared = {},  # noqa: B006 - read only
        ITEM_KEY: Annotated[str, Field(min_length=1, description="the parameter that the item becomes")] = "ITEM",
        MAX_ITEMS: Most = 100_000,
    ) -> Outcome:
        if len(ITEMS) > MAX_ITEMS:
            return Fail(f"ITEMS has {len(ITEMS):,} items, more than MAX_ITEMS ({MAX_ITEMS:,})", retry=False)
        return Plan([Task(PROGRAM, {**PARAMETERS, ITEM_KEY: item}) for item in ITEMS])


class Gather(Program):
    """Give the results of the tasks before this one as one list, in the order of their run numbers. Safe to repeat."""

    name = "Gather"

    def run(self, call: Call) -> Outcome:
        return Finish(list(call.upstream))
