"""Every command of the engine's table as a command of its own: `penstock cancel FLOW` and its like.

Options are made from the model of the command's arguments, so that all doors take the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from engine.commands import Command, Noun, command_of
from penstock.door_options import door_options
from penstock.subjects import pairs, split

METAVAR: Final = {
    Noun.FLOW: "FLOW",
    Noun.WORKFLOW: "WORKFLOW",
    Noun.QUEUE: "QUEUE",
    Noun.LIMIT: "NAME",
    Noun.WAIT: "WAIT",
    Noun.MESSAGE: "NAME",
    Noun.WATCHER: "WATCHER",
    Noun.TOKEN: "ID",
}
_EXAMPLES: Final = {
    "pause": ("pause FLOW", "pause FLOW/3 --reason 'ask bob first'"),
    "retry": ("retry FLOW", "retry FLOW/4 --reason 'the disk has room again'"),
    "rerun": ("rerun FLOW/2 --downstream", "rerun FLOW --name '^load'"),
    "finish": ("""finish FLOW/2 --result '{"rows": 3}'""",),
    "set-parameters": ("set-parameters FLOW/2 -p DAY=2026-01-01",),
    "bulk": (
        """bulk --verb cancel --where '{"task_id": "load", "status": 2}'     counts only""",
        """bulk --verb cancel --where '{"task_id": "load", "status": 2}' --no-dry-run""",
    ),
    "answer": ("""answer WAIT --payload '{"approved": true}'""",),
    "send": ("""send paid --key order-4711 --payload '{"sum": 3}'""",),
    "set-limit": (
        "set-limit default --scope queue --max-running 5",
        "set-limit mail --scope key --rate 10 --rate-period-s 60",
    ),
    "ignore": ("ignore FLOW/3 --reason 'not needed today'",),
    "set-priority": ("set-priority FLOW --priority -10",),
    "set-flow-parameters": ("set-flow-parameters FLOW -p DAY=2026-01-01",),
    "call-back": ("""call-back --wait-token TOKEN --payload '{"ok": true}'""",),
    "drop-limit": ("drop-limit default --scope queue",),
    "pause-queue": ("pause-queue default --reason 'the provider is down'",),
}


_FLAGS: Final = {"token": "wait_token"}
"""Arguments whose flag, and what click calls it, would mean something else."""
_ARGUMENTS: Final = {flag: name for name, flag in _FLAGS.items()}


def command_for(name: str) -> click.Command:
    """The click command of one command of the table; `name` has dashes."""
    command = command_of(name.replace("-", "_"))
    fields = command.arguments.model_fields
    params: list[click.Parameter] = []
    if command.noun is not Noun.EVERYTHING:
        of_tasks = "seqs" in fields
        params.append(click.Argument(["subject"], metavar=METAVAR[command.noun] + ("[/SEQ]" if of_tasks else "")))
    params += [_option(field_name, field) for field_name, field in fields.items()]
    params.append(click.Option(["--reason"], help="Why: it is recorded with the command."))
    usual = f"{name} {METAVAR.get(command.noun, '')} --reason 'the day was wrong'"
    examples = "".join(f"\n  penstock {line}" for line in _EXAMPLES.get(name, (usual,)))
    made = click.Command(
        name,
        callback=door_options(_callback(command)),
        params=params,
        help=f"{command.about}.",
        epilog=f"\b\nExamples:{examples}",
    )
    made.params += getattr(made.callback, "__click_params__", [])[::-1]
    return made


def _option(name: str, field: FieldInfo) -> click.Option:
    name = _FLAGS.get(name, name)
    kind, flag = _kind(field.annotation), "--" + name.replace("_", "-")
    about = (field.description or "").capitalize()
    needed = field.is_required() and name != "seqs"  # FLOW/SEQ may say it
    shown: dict[str, Any] = {"help": f"{about}." if about else None, "required": needed}
    if name == "seqs":
        return click.Option(
            ["-t", "--task", "seqs"], multiple=True, type=int, metavar="SEQ", help="A task; repeatable."
        )
    if name == "parameters":
        return click.Option(
            ["-p", "--param", "parameters"],
            multiple=True,
            metavar="NAME=VALUE",
            help="A parameter; repeatable.",
            required=needed,
        )
    if kind is bool:
        default = bool(field.default)
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=default, show_default=True, **shown)
    if kind in (int, float, str):
        return click.Option([flag, name], type=kind, **shown)
    return click.Option([flag], metavar="JSON", callback=_json, **shown)


def _kind(annotation: Any) -> Any:
    """The plain type behind an annotation: of a union the widest, of anything else that is no scalar None."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [_kind(one) for one in get_args(annotation) if one is not NoneType]
        return next((kind for kind in (float, int, str, bool) if kind in kinds), None) if None not in kinds else None
    return annotation if annotation in (bool, int, float, str) else None


def _json(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}") from error


def _callback(command: Command) -> Callable[..., None]:
    def run(open_door: Any, as_json: bool, reason: str | None, subject: str | None = None, **given: Any) -> None:
        from penstock import output

        with open_door() as door:
            if subject is not None and "seqs" in command.arguments.model_fields:
                subject, given["seqs"] = split(door, subject, given["seqs"])
            answer = door.ask(command.name, subject, _told(command, given), reason)
        if as_json:
            output.echo_json({"outcome": "done", "verb": command.name, "subject": subject, "answer": answer})
        else:
            _show(command, answer)

    return run


def _told(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, as the command takes them."""
    told: dict[str, Any] = {}
    context = click.get_current_context()
    for name, value in given.items():
        if name == "seqs":
            told |= {"seqs": sorted(set(value))} if value else {}
        elif name == "parameters":
            told |= {"parameters": pairs(value)} if value else {}
        elif value is not None and not _is_default(context, name):
            told[_ARGUMENTS.get(name, name)] = value
    return told


def _is_default(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT"


def _show(command: Command, answer: Mapping[str, Any]) -> None:
    from penstock import output

    seqs = answer.get("seqs")
    if seqs is None:
        told = ", ".join(f"{name} {json.dumps(value)}" for name, value in answer.items() if value is not None)
        output.say(f"{command.name}: done{': ' if told else ''}{told}")
    elif seqs:
        output.say(f"{command.name}: task{'s' if len(seqs) > 1 else ''} {', '.join(map(str, seqs))}")
    else:
        output.say(f"{command.name}: nothing in this flow is in a state for it", err=True)
