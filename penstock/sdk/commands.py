"""Every command of docs/commands.md as a method with its arguments.

To add one: a method here, with the arguments of the command's model and `reason`. Where the answer has a shape of its
own, `read=` makes it of the answer's document. tests/sdk/test_verbs.py names a command or an argument that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engine import tokens
from engine.ids import new_claim_id
from penstock.models import Bulk, FlowId, MadeToken, Sent, WorkflowApplied
from penstock.sdk.asking import Command, Request, asking


def _seqs(answer: Mapping[str, Any]) -> list[int]:
    return list(answer["seqs"])


def _flow_id(answer: Mapping[str, Any]) -> FlowId:
    return FlowId(answer["task_flow_id"], bool(answer.get("replayed")))


def _nothing(answer: Mapping[str, Any]) -> None:
    return None


def _list(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


class Commands:
    """What may be asked for. `reason` is recorded with the command, and shown to whoever asks why.

    Verbs on a flow act on all its tasks that they are for, or on those with the run numbers `seqs`, and return the run
    numbers that they acted on. Errors: NotFound, BadRequest, Refused (docs/control.md says what each verb refuses).
    """

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
            "tags": _list(tags),
        }
        return Command("register", task_id, told, reason, _flow_id, is_repeatable=True)

    @asking
    def pause(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Suspend what waits; what runs goes on."""
        return Command("pause", flow_id, {"seqs": _list(seqs)}, reason, _seqs)

    @asking
    def resume(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, only_paused: bool = True, reason: str | None = None
    ) -> Command[list[int]]:
        """Take back a pause. With `only_paused=False`, also what is suspended for another reason."""
        return Command("resume", flow_id, {"seqs": _list(seqs), "only_paused": only_paused}, reason, _seqs)

    @asking
    def recover(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Let the flow go on: what is suspended or was cancelled waits again."""
        return Command("recover", flow_id, {"seqs": _list(seqs)}, reason, _seqs)

    @asking
    def retry(
        self, flow_id: str, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Try failed tasks anew, with all their tries."""
        return Command("retry", flow_id, {"seqs": _list(seqs)}, reason, _seqs)

    @asking
    def ignore(self, flow_id: str, seqs: Sequence[int], *, reason: str | None = None) -> Command[list[int]]:
        """Set these tasks aside for good; what waits for them goes on."""
        return Command("ignore", flow_id, {"seqs": _list(seqs)}, reason, _seqs)

    @asking
    def finish(
        self, flow_id: str, seqs: Sequence[int], *, result: Any = None, reason: str | None = None
    ) -> Command[list[int]]:
        """Count these tasks as finished, with `result` (JSON) as their result."""
        return Command("finish", flow_id, {"seqs": _list(seqs), "result": result}, reason, _seqs)

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
        told = {"seqs": _list(seqs), "upstream": upstream, "downstream": downstream, "force": force, "name": name}
        return Command("rerun", flow_id, told, reason, _seqs)

    @asking
    def run_again(self, flow_id: str, *, reason: str | None = None) -> Command[FlowId]:
        """Make a new flow of the same workflow and parameters, and return its id."""
        return Command("run_again", flow_id, {}, reason, _flow_id)

    @asking
    def set_priority(
        self, flow_id: str, priority: int, seqs: Sequence[int] | None = None, *, reason: str | None = None
    ) -> Command[list[int]]:
        """Change the priority (-20 to 19, smaller first) of what has not been claimed."""
        return Command("set_priority", flow_id, {"priority": priority, "seqs": _list(seqs)}, reason, _seqs)

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
        told = {"seqs": _list(seqs), "parameters": dict(parameters), "replace": replace}
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

    @asking
    def answer(self, wait_id: str, payload: Any = None, *, reason: str | None = None) -> Command[None]:
        """Answer an approval (`{"approved": True}`) or a form (what fits its schema).

        Errors: NotFound; Refused if the wait is over, or others are to answer it; BadRequest for what does not fit.
        """
        return Command("answer", wait_id, {"payload": payload}, reason, _nothing)

    @asking
    def send(
        self, name: str, key: str, payload: Any = None, *, expires_s: float | None = None, reason: str | None = None
    ) -> Command[Sent]:
        """Send a message to the task that has awaited one of this name and key for longest. While nobody awaits it, it
        is kept for `expires_s` seconds (a day)."""
        return Command("send", name, {"key": key, "payload": payload, "expires_s": expires_s}, reason, Sent.of)

    @asking
    def call_back(self, token: str, payload: Any = None, *, reason: str | None = None) -> Command[None]:
        """Give a payload to the task that gave the token away."""
        return Command("call_back", None, {"token": token, "payload": payload}, reason, _nothing)

    @asking
    def pause_queue(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Start no more tasks of a queue; what runs goes on."""
        return Command("pause_queue", name, {}, reason, _nothing)

    @asking
    def resume_queue(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Start the tasks of a paused queue again."""
        return Command("resume_queue", name, {}, reason, _nothing)

    @asking
    def apply(
        self,
        task_id: str,
        document: Mapping[str, Any] | str,
        *,
        format: str | None = None,
        if_version: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> Command[WorkflowApplied]:
        """Make a document (docs/workflow-files.md) the workflow from now on: an object, or a text in the `format` json
        (unless told otherwise) or toml. Refused unless the workflow is at `if_version`, a version or a stamp, if that
        is given; with `only_new`, if it is there already. `dry_run` says what would change."""
        told = {
            "document": document if isinstance(document, str) else dict(document),
            "format": format,
            "if_version": if_version,
            "only_new": only_new,
            "dry_run": dry_run,
        }
        return Command("apply", task_id, told, reason, WorkflowApplied.of)

    @asking
    def delete_workflow(self, task_id: str, *, force: bool = False, reason: str | None = None) -> Command[None]:
        """Take a workflow's definition away; its flows and versions stay. `force`: also while flows are under way."""
        return Command("delete_workflow", task_id, {"force": force}, reason, _nothing)

    @asking
    def pause_workflow(self, task_id: str, *, reason: str | None = None) -> Command[None]:
        """Start no more tasks of a workflow; what runs goes on."""
        return Command("pause_workflow", task_id, {}, reason, _nothing)

    @asking
    def resume_workflow(self, task_id: str, *, reason: str | None = None) -> Command[None]:
        """Start the tasks of a paused workflow again."""
        return Command("resume_workflow", task_id, {}, reason, _nothing)

    @asking
    def set_limit(
        self,
        name: str,
        scope: str,
        *,
        max_running: int | None = None,
        rate: int | None = None,
        rate_period_s: float | None = None,
        reason: str | None = None,
    ) -> Command[None]:
        """Say how many tasks of a `workflow`, a `queue` or a `key` (`scope`) may run at once, or start within
        `rate_period_s` seconds (1). What is left out is no cap."""
        told = {"scope": scope, "max_running": max_running, "rate": rate, "rate_period_s": rate_period_s}
        return Command("set_limit", name, told, reason, _nothing)

    @asking
    def drop_limit(self, name: str, scope: str, *, reason: str | None = None) -> Command[None]:
        """Take a limit away; a pause stays."""
        return Command("drop_limit", name, {"scope": scope}, reason, _nothing)

    @asking
    def drain(self, watcher_id: str, *, reason: str | None = None) -> Command[None]:
        """Let a watcher finish what it runs, and end."""
        return Command("drain", watcher_id, {}, reason, _nothing)

    @asking
    def new_token(
        self,
        name: str,
        role: str,
        *,
        workflows: Sequence[str] | None = None,
        expires_s: float | None = None,
        reason: str | None = None,
    ) -> Command[MadeToken]:
        """Make a token with this role: viewer, worker, operator, author or admin. `workflows` are those that it
        reaches, ids or how they begin and a `*` (all); it is good for `expires_s` seconds (for ever). The secret is
        made here, and only its hash is sent."""
        secret = tokens.new_token()

        def read(answer: Mapping[str, Any]) -> MadeToken:
            return MadeToken.of({**answer, "token": secret})

        told = {
            "role": role,
            "token_hash": tokens.hash_of(secret),
            "workflows": _list(workflows),
            "expires_s": expires_s,
        }
        return Command("create_token", name, told, reason, read)

    @asking
    def create_token(
        self,
        name: str,
        role: str,
        token_hash: str,
        *,
        workflows: Sequence[str] | None = None,
        expires_s: float | None = None,
        reason: str | None = None,
    ) -> Command[str]:
        """As `new_token`, for a secret that was made elsewhere: `token_hash` is its SHA-256, in hex. Returns its id."""
        told = {"role": role, "token_hash": token_hash, "workflows": _list(workflows), "expires_s": expires_s}
        return Command("create_token", name, told, reason, lambda answer: str(answer["token_id"]))

    @asking
    def revoke_token(self, token_id: str, *, reason: str | None = None) -> Command[None]:
        """End a token, and the sessions that came from it."""
        return Command("revoke_token", token_id, {}, reason, _nothing)

    @asking
    def set_principal(
        self, name: str, role: str, *, workflows: Sequence[str] | None = None, reason: str | None = None
    ) -> Command[None]:
        """Say what a person who logs in elsewhere may do; `workflows` as of `new_token`."""
        return Command("set_principal", name, {"role": role, "workflows": _list(workflows)}, reason, _nothing)

    @asking
    def drop_principal(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Let a person in no longer, and end that person's sessions."""
        return Command("drop_principal", name, {}, reason, _nothing)

    @asking
    def ask(
        self,
        verb: str,
        subject: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        reason: str | None = None,
    ) -> Request[dict[str, Any]]:
        """Any command of docs/commands.md by its name, with its arguments as they are. Returns its answer."""
        told = dict(arguments or {})
        return Request(lambda door: door.ask(verb, subject, told, reason), dict, is_repeatable=False)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
