"""Every command has a method, with every argument, in both clients; and models have every member of the API's."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Any

import pytest

from engine.commands import COMMANDS, Noun
from penstock import AsyncClient, Client, models
from penstock.doors.door import Door
from penstock.sdk.reads import Reads
from register import models as api_rows
from register.access import models as of_access
from register.api import models as api
from register.api import workflow_models as of_workflows

NO_READS = {"all_tasks", "ask", "close", "follow", "backslashes", "register_many", "run_script", "where", "whole_flow"}


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_a_method_with_its_arguments(client: type, name: str) -> None:
    command = COMMANDS[name]
    method = getattr(client, name, None)
    assert method is not None, f"penstock/sdk/commands lacks {name!r}: {command.about}"
    taken = inspect.signature(method).parameters
    told = set(command.arguments.model_fields) | {"reason"}
    assert told - set(taken) == set(), f"{name!r} lacks arguments"
    beside = set(taken) - told - {"self"}
    assert len(beside) == (0 if command.noun is Noun.EVERYTHING else 1), f"{name!r} takes {beside}: its subject alone"
    assert inspect.getdoc(method)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_is_required_is_required(client: type) -> None:
    for name, command in COMMANDS.items():
        parameters = inspect.signature(getattr(client, name)).parameters
        for argument, field in command.arguments.model_fields.items():
            has_default = parameters[argument].default is not inspect.Parameter.empty
            assert has_default != field.is_required(), f"{name}({argument})"


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_whatever_a_door_reads_can_be_read(client: type) -> None:
    wanted = {name for name in vars(Door) if not name.startswith("_")} - NO_READS
    assert [name for name in sorted(wanted) if not hasattr(client, name)] == []


def test_both_clients_offer_the_same() -> None:
    def offered(client: type) -> dict[str, list[str]]:
        found = {name: getattr(client, name) for name in dir(client) if not name.startswith("_")}
        return {
            name: [*inspect.signature(method).parameters]
            for name, method in found.items()
            if callable(method) and name not in ("of_database", "through")
        }

    assert offered(Client) == offered(AsyncClient)


def test_every_read_is_documented() -> None:
    reads = [name for name in vars(Reads) if not name.startswith("_")]
    assert [name for name in reads if not inspect.getdoc(getattr(Client, name))] == []


MODELS: dict[str, Any] = {
    "Flow": api.FlowRead,
    "Task": api_rows.Task,
    "Attempt": api_rows.Attempt,
    **{
        name: getattr(api, name)
        for name in (
            "Command",
            "Counters",
            "Edge",
            "Event",
            "Limit",
            "Log",
            "Minute",
            "Program",
            "Queue",
            "Wait",
            "Watcher",
            "Cause",
            "FlowWhy",
            "TaskWhy",
        )
    },
    **{name: getattr(of_access, name) for name in ("MadeToken", "Principal", "Token")},
    **{
        name: getattr(of_workflows, name)
        for name in ("WorkflowApplied", "WorkflowListed", "WorkflowRead", "WorkflowVersion", "WorkflowVersionRead")
    },
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_has_the_members_of_the_api(name: str) -> None:
    own, theirs = getattr(models, name).model_fields, MODELS[name].model_fields
    assert set(own) == set(theirs)
    times = {member for member in theirs if member.endswith("_ts")}
    assert {member for member in times if datetime not in _types(own[member].annotation)} == set()
    plain = {
        member
        for member in set(own) - times - {"status"}
        if MODELS[name].model_fields[member].annotation in (int, str, float)
    }
    assert {member: own[member].annotation for member in plain} == {
        member: theirs[member].annotation for member in plain
    }


def _types(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", (annotation,))


def test_models_are_frozen_and_keep_what_they_do_not_know() -> None:
    sent = models.Sent.of({"message_id": "m", "wait_id": None, "later": 1})
    assert sent.later == 1  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="frozen"):
        sent.wait_id = "w"


def test_a_status_that_a_person_made_up_is_a_text() -> None:
    row = {
        "task_flow_id": "f",
        "task_id": "w",
        "task_count": 0,
        "finish_count": 0,
        "ignore_count": 0,
        "suspend_count": 0,
    }
    assert models.Flow.of({**row, "flow_status": 3, "status": "FINISH"}).status is models.Status.FINISH
    odd = models.Flow.of({**row, "flow_status": 7, "status": "UNKNOWN 7"})
    assert (odd.status, odd.has_ended) == ("UNKNOWN 7", False)
