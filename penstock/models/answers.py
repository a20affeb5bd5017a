"""What became of what was asked for: a registration, many of them, a verb in bulk, a message."""

from __future__ import annotations

from pydantic import Field

from penstock.models.base import Model


class FlowId(str):
    """The id of a flow that a registration made, a text like any other. `replayed` is true if an earlier request with
    the same idempotency key had made it."""

    replayed: bool

    def __new__(cls, text: str, replayed: bool = False) -> FlowId:
        made = super().__new__(cls, text)
        made.replayed = replayed
        return made


class Refusal(Model):
    """A registration among many that was refused: its place, from 0, and why."""

    index: int
    kind: str
    detail: str


class ManyRegistered(Model):
    """What became of many registrations."""

    registered: int
    refused: int
    task_flow_ids: tuple[str | None, ...] = ()
    """In their order; None where one was refused."""
    problems: tuple[Refusal, ...] = ()
    """The first of those that were refused."""


class Bulk(Model):
    """What a verb in bulk found (`dry_run`), or did."""

    dry_run: bool
    flows: int
    tasks: int
    statuses: dict[int, int] = Field(default_factory=dict)
    """Of these tasks, by the status that they had."""
    refused: dict[str, str] = Field(default_factory=dict)
    """Flows that the verb does not fit, each with why."""
    is_cut: bool = False
    """There are more flows than the limit, left alone."""


class Sent(Model):
    """A message that was sent, and the wait that it went to; None while nobody awaits it."""

    message_id: str
    wait_id: str | None = None
