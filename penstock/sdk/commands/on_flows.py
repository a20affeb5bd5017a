"""Commands on flows and their tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engine.ids import new_claim_id
from penstock.models import Bulk, FlowId
from penstock.sdk.asking import Command, as_list, asking


def _seqs(answer: Mapping[str, Any]) -> list[int]:
    return list(answer["seqs"])


def _flow_id(answer: Mapping[str, Any]) -> FlowId:
    return FlowId(answer["task_flow_id"], bool(answer.get("replayed")))


class OnFlows:
    """Verbs on a flow act on all its tasks that they are for, or on those with the run numbers `seqs`, and return the
    run numbers that they acted on."""

    @asking
    def register(
        self,
        task_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        run_key: str | None = None,
        idempotency_key: str | None = None,
        tags: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Command[FlowId]:
        """Start a flow of the workflow `task_id`, and return its id.

        `parameters` replace the steps' own of the same name; `priority` (-20 to 19, smaller first) that of every step;
        `run_key` is the period or business key that the flow stands for, and `tags` are words that it can be found by.
        A second request with the same `idempotency_key` makes no second flow. Without one the client makes one up, so
        that it can safely ask again when an answer is lost.
        Errors: NotFound for an unknown workflow, Refused for one that cannot run or is full, BadRequest.
        """
        told = {
            "parameters": None if parameters is None else dict(parameters),
            "priority": priority,
            "run_key": run_key,
            "idempotency_key": idempotency_key or f"client-{new_claim_id()}",
            "tags": as_list(tags),
        }
        return Command("register", task_id, told, reason, _flow_id, is_repeatable=True)

    @asking
    def run_again(self, flow_id: str, *, reason: str | None = None) -> Command[FlowId]:
        """Make a new flow of the same workflow and parameters, and return its id."""
        return Command("run_again", flow_id, {}, reason, _flow_id)

    @asking
    def pause(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Suspend what waits; what runs goes on."""
        return Command("pause", flow_id, {"seqs": as_list(seqs)}, reason, _seqs)

    @asking
    def resume(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, only_paused: bool = True, reason: str | None = None
    ) -> Command[list[int]]:
        """Take back a pause. With `only_paused=False`, also what is suspended for another reason."""
        return Command("resume", flow_id, {"seqs": as_list(seqs), "only_paused": only_paused}, reason, _seqs)

    @asking
    def recover(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Let the flow go on: what is suspended or was cancelled waits again."""
        return Command("recover", flow_id, {"seqs": as_list(seqs)}, reason, _seqs)

    @asking
    def retry(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Try failed tasks anew, with all their tries."""
        return Command("retry", flow_id, {"seqs": as_list(seqs)}, reason, _seqs)

    @asking
    def ignore(self, flow_id: str, seqs: Sequence[int], *, reason: str | None = None) -> Command[list[int]]:
        """Set these tasks aside for good; what waits for them goes on."""
        return Command("ignore", flow_id, {"seqs": as_list(seqs)}, reason, _seqs)

    @asking
    def finish(
        self, flow_id: str, seqs: Sequence[int], *, result: Any = None, reason: str | None = None
    ) -> Command[list[int]]:
        """Count these tasks as finished, with `result` (JSON) as their result."""
        return Command("finish", flow_id, {"seqs": as_list(seqs), "result": result}, reason, _seqs)

    @asking
    def cancel(self, flow_id: str, *, reason: str | None = None) -> Command[list[int]]:
        """End a flow now, with its sub-flows."""
        return Command("cancel", flow_id, {}, reason, _seqs)

    @asking
    def rerun(
        self,
        flow_id: str,
        seqs: Sequence[int] | None = None,
        *,
        upstream: bool = False,
        downstream: bool = False,
        force: bool = False,
        name: str | None = None,
        reason: str | None = None,
    ) -> Command[list[int]]:
        """Run tasks again in the same rows: these, those that the regular expression `name` is found in the step's name
        or program of, or all. `upstream` and `downstream` add what is ahead of them and behind them; `force` supersedes
        what runs."""
        told = {"seqs": as_list(seqs), "upstream": upstream, "downstream": downstream, "force": force, "name": name}
        return Command("rerun", flow_id, told, reason, _seqs)

    @asking
    def set_priority(
        self, flow_id: str, priority: int, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Change the priority (-20 to 19, smaller first) of what has not been claimed."""
        return Command("set_priority", flow_id, {"priority": priority, "seqs": as_list(seqs)}, reason, _seqs)

    @asking
    def set_parameters(
        self,
        flow_id: str,
        seqs: Sequence[int],
        parameters: Mapping[str, Any],
        *,
        replace: bool = False,
        reason: str | None = None,
    ) -> Command[list[int]]:
        """Change the parameters of tasks that have not begun. `replace` takes away those that are not named."""
        told = {"seqs": as_list(seqs), "parameters": dict(parameters), "replace": replace}
        return Command("set_parameters", flow_id, told, reason, _seqs)

    @asking
    def set_flow_parameters(
        self, flow_id: str, parameters: Mapping[str, Any], *, replace: bool = False, reason: str | None = None
    ) -> Command[list[int]]:
        """Change what fills the parameters that tasks leave open. `replace` takes away those that are not named."""
        told = {"parameters": dict(parameters), "replace": replace}
        return Command("set_flow_parameters", flow_id, told, reason, _seqs)

    @asking
    def bulk(
        self,
        verb: str,
        where: Mapping[str, Any],
        arguments: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = True,
        limit: int | None = None,
        reason: str | None = None,
    ) -> Command[Bulk]:
        """Apply a verb to all flows or tasks that a filter finds; unless `dry_run=False`, only count them.

        `where` has at least one of task_id, flow_ids, flow_status, run_key_from, run_key_to, registered_after,
        registered_before, status, reason, program, name. `limit` is the most flows (10,000).
        """
        told = {
            "verb": verb,
            "where": {name: _plain(value) for name, value in where.items()},
            "arguments": dict(arguments or {}),
            "dry_run": dry_run,
            "limit": limit,
        }
        return Command("bulk", None, told, reason, Bulk.of)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
