"""What a document of a workflow looks like: every name that it may use, with what each means.

One model for all doors: it checks files and requests, and its JSON schema describes them. What one part alone can get
wrong is found here; how steps and edges fit together is checked on the rows (engine/definition/compile.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
)

from engine import jsontext
from engine.states import PRIORITY_MAX, PRIORITY_MIN

MAX_STEPS: Final = 10_000
MAX_TAGS: Final = 50
MAX_DEPTH: Final = 100
"""Of objects and lists in one another."""
MAX_WHOLE: Final = 2**31 - 1
FIRST_SEQ: Final = 1
"""Of a document whose first step has no `seq`."""


def _storable(text: str) -> str:
    if "\x00" in text or jsontext.clean_text(text, len(text) + 1) != text:
        raise ValueError("holds a character that no database can store")
    return text


def _object(value: Any) -> Any:
    """A table, or a text that says one in JSON: TOML has no null."""
    if isinstance(value, str):
        value = jsontext.loads_object(value)
    if not isinstance(value, Mapping):
        return value
    if _is_deep(value):
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        jsontext.dumps(dict(value))
    except jsontext.NotJSON as error:  # TOML has dates, times, inf and nan
        raise ValueError(f"{error}: write a date or a time as text") from error
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = (one.values() if isinstance(one, Mapping) else one for one in level)
        level = [inner for one in inside for inner in one if isinstance(inner, Mapping | list)]
    return bool(level)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number")
    return value


def _short(value: float) -> float | int:
    return int(value) if value == int(value) and abs(value) < 2**53 else value


def _kind_of_reference(value: Any) -> str | None:
    if isinstance(value, str):
        return "name"
    if isinstance(value, Mapping | After):
        return "edge"
    return "seq" if isinstance(value, int) and not isinstance(value, bool) else None


Text = Annotated[StrictStr, AfterValidator(_storable)]
Id = Annotated[StrictStr, Field(min_length=1, max_length=256), AfterValidator(_storable)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=128), AfterValidator(_storable)]
Queue = Annotated[StrictStr, Field(min_length=1, max_length=64), AfterValidator(_storable)]
Label = Annotated[StrictStr, Field(min_length=1, max_length=255), AfterValidator(_storable)]
Object = Annotated[dict[str, Any], BeforeValidator(_object, json_schema_input_type=dict[str, Any] | str)]
Number = Annotated[
    float,
    Field(allow_inf_nan=False),
    BeforeValidator(_number, json_schema_input_type=float),
    PlainSerializer(_short, return_type=int | float),
]
Seconds = Annotated[Number, Field(gt=0)]
Priority = Annotated[StrictInt, Field(ge=PRIORITY_MIN, le=PRIORITY_MAX)]
Count = Annotated[StrictInt, Field(ge=1, le=MAX_WHOLE)]
Seq = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)]
WRONG_REFERENCE: Final = "should be the name or the seq of a step"
Reference = Annotated[
    Annotated[Name, Tag("name")] | Annotated[Seq, Tag("seq")],
    Discriminator(
        lambda value: None if isinstance(value, Mapping) else _kind_of_reference(value),
        custom_error_type="reference",
        custom_error_message=WRONG_REFERENCE,
    ),
]


class Part(BaseModel):
    """Something that a document says; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class After(Part):
    """An edge that says more than which step comes before."""

    step: Reference = Field(description="the earlier step: its name or its seq")
    kind: Literal["normal", "error", "timeout", "loop"] | None = Field(
        None, description="after it finished (normal), failed, ran out of time; or back to this step from there (loop)"
    )
    only_if: Text | None = Field(None, description="a condition: the edge is taken only if it is true")
    is_default: StrictBool | None = Field(
        None, description="taken when no other condition on edges behind the same step is true"
    )
    max_iterations: Count | None = Field(None, description="of a loop: how often it may be taken; 1,000 unless said")


Edge = Annotated[
    Annotated[Name, Tag("name")] | Annotated[Seq, Tag("seq")] | Annotated[After, Tag("edge")],
    Discriminator(
        _kind_of_reference,
        custom_error_type="reference",
        custom_error_message=f"{WRONG_REFERENCE}, or a table with `step`",
    ),
]


class Retry(Part):
    """When a step is tried again after a failure."""

    max_attempts: Count | None = Field(None, description="how often it is tried in all; 1 unless said")
    delay_s: Annotated[Number, Field(ge=0)] | None = Field(None, description="seconds before the second try; 10")
    backoff: Annotated[Number, Field(ge=1)] | None = Field(None, description="each delay is so many times the last; 1")
    max_delay_s: Annotated[Number, Field(ge=0)] | None = Field(None, description="the longest delay, in seconds")
    jitter: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="up to this share of a delay is left out at random; 0"
    )


class Phase(Part):
    """A program around a step."""

    program: Id = Field(description="the name of the program")
    parameters: Object | None = Field(None, description="its parameters")


class Step(Part):
    """A step of a workflow: one task of each of its flows."""

    seq: Seq | None = Field(
        None, description="its number, which gives the order; one more than that of the step above unless said"
    )
    name: Name | None = Field(None, description="what edges, conditions, templates and people call it")
    program: Id = Field(description="the name of the program that it runs")
    priority: Priority | None = Field(None, description="smaller goes first; 0 unless said")
    parameters: Object | None = Field(None, description="what the program is given; texts may be templates")
    after: list[Edge] | None = Field(
        None, description="the steps that come before it; without any in the document each step follows the one above"
    )
    queue: Queue | None = Field(None, description="which watchers may run it")
    trigger_rule: Literal["all", "all_taken", "any", "all_done", "one_failed", "none_failed", "cleanup"] | None = Field(
        None, description="when it runs, if several steps come before it"
    )
    retry: Retry | None = Field(None, description="when it is tried again after a failure")
    timeout_s: Seconds | None = Field(None, description="seconds that one try may take")
    limit_key: Id | None = Field(None, description="the key whose limit it counts against; may hold {params.NAME}")
    input_mapping: Object | None = Field(None, description="name -> expression: parameters worked out before the run")
    output_mapping: Object | None = Field(None, description="name -> expression: what is kept of the result")
    executor: Literal["thread", "async", "process"] | None = Field(
        None, description="where the program runs; the program's own choice unless said"
    )
    is_exclusive: StrictBool | None = Field(None, description="two runs of its task never overlap")
    pre: Phase | None = Field(None, description="runs before the step")
    post: Phase | None = Field(None, description="runs after the step, whether it finished or failed")
    rollback: Phase | None = Field(None, description="undoes the step")


def _not_too_many(steps: list[Step]) -> list[Step]:
    """No part of the schema: a list as long as this is refused for its bytes, before."""
    if len(steps) > MAX_STEPS:
        raise ValueError(f"has {len(steps):,} steps, more than {MAX_STEPS:,}")
    return steps


class Document(Part):
    """A workflow: all that its definition rows say."""

    task_id: Id = Field(description="the id of the workflow")
    description: Text | None = Field(None, description="for people: what it does")
    owner: Id | None = Field(None, description="for people: whose it is")
    tags: Annotated[list[Label], Field(max_length=MAX_TAGS)] | None = Field(
        None, description="for people: words that it can be found by"
    )
    parameters: Object | None = Field(None, description="what a registration leaves open")
    parameter_schema: Object | None = Field(
        None, description="a JSON schema that the parameters of a registration, with these filled in, must fit"
    )
    flow_priority: Priority | None = Field(None, description="of its flows; replaces that of every step")
    failure_policy: Literal["continue", "stop", "rollback"] | None = Field(
        None, description="what a failure does that nothing handles; continue unless said"
    )
    timeout_s: Seconds | None = Field(None, description="seconds that a flow may take")
    max_active_flows: Count | None = Field(None, description="how many flows may be under way at once")
    on_limit: Literal["queue", "refuse", "cancel oldest"] | None = Field(
        None, description="what a registration beyond that does; queue unless said"
    )
    result_mapping: Object | None = Field(None, description="name -> expression: the result of a flow")
    retention_s: Seconds | None = Field(None, description="seconds that its ended flows are kept")
    steps: Annotated[list[Step], Field(min_length=1), AfterValidator(_not_too_many)] = Field(
        description="in the order in which they are numbered"
    )

    def numbered(self) -> list[tuple[int, Step]]:
        """The steps with their numbers; two may have the same, which is for others to refuse."""
        found: list[tuple[int, Step]] = []
        following = FIRST_SEQ
        for step in self.steps:
            seq = following if step.seq is None else step.seq
            found.append((seq, step))
            following = seq + 1
        return found

    def as_json(self) -> dict[str, Any]:
        """What it says, as JSON values: what is not said is left out."""
        return self.model_dump(mode="json", exclude_none=True)


OF_PEOPLE: Final = ("description", "owner", "tags", "retention_s")
"""What a document says and a version does not: no flow is made otherwise because of it."""
