"""The command line: which command lives where. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import click

from penstock import __version__
from penstock.failures import exit_on_failure
from penstock.sources import load_config

_COMMANDS = {
    "up": "penstock.commands.up",
    "serve": "penstock.commands.serve",
    "watch": "penstock.commands.watch",
    "work": "penstock.commands.work",
    "register": "penstock.commands.register",
    "apply": "penstock.commands.apply",
    "export": "penstock.commands.export",
    "validate": "penstock.commands.validate",
    "diff": "penstock.commands.diff",
    "workflows": "penstock.commands.workflows",
    "versions": "penstock.commands.versions",
    "ps": "penstock.commands.ps",
    "show": "penstock.commands.show",
    "why": "penstock.commands.why",
    "logs": "penstock.commands.logs",
    "top": "penstock.commands.top",
    "stats": "penstock.commands.look:stats",
    "queues": "penstock.commands.look:queues",
    "limits": "penstock.commands.look:limits",
    "watchers": "penstock.commands.look:watchers",
    "waits": "penstock.commands.look:waits",
    "events": "penstock.commands.records:events",
    "commands": "penstock.commands.records:commands",
    "programs": "penstock.commands.programs",
    "plugins": "penstock.commands.plugins",
    "check": "penstock.commands.check",
    "fsck": "penstock.commands.fsck",
    "prune": "penstock.commands.prune",
    "bench": "penstock.commands.bench",
    "completion": "penstock.commands.completion",
    "db": "penstock.commands.db",
    "token": "penstock.commands.token",
    "principal": "penstock.commands.principal",
}
VERBS = (
    "pause",
    "resume",
    "recover",
    "retry",
    "ignore",
    "finish",
    "cancel",
    "rerun",
    "run-again",
    "set-priority",
    "set-parameters",
    "set-flow-parameters",
    "bulk",
    "answer",
    "send",
    "call-back",
    "pause-queue",
    "resume-queue",
    "pause-workflow",
    "resume-workflow",
    "set-limit",
    "drop-limit",
    "drain",
    "delete-workflow",
)
"""Commands of the engine's table, made by penstock/commands/verbs.py from what each takes."""
_STEERING = VERBS.index("bulk") + 1
SECTIONS = {
    "Services": ("up", "serve", "watch", "work"),
    "Workflows": (
        *("register", "apply", "export", "validate", "diff", "workflows", "versions", "delete-workflow"),
        *("pause-workflow", "resume-workflow"),
    ),
    "Flows and tasks": ("ps", "show", "why", "logs", "events"),
    "Steering": VERBS[:_STEERING],
    "What is awaited": ("waits", "answer", "send", "call-back"),
    "Queues, limits, watchers": (
        *("queues", "pause-queue", "resume-queue", "limits", "set-limit", "drop-limit", "watchers", "drain"),
        *("stats", "top"),
    ),
    "Who may ask, and who did": ("token", "principal", "commands"),
    "The installation": ("db", "programs", "plugins", "check", "fsck", "prune", "bench", "completion"),
}
"""How the help text groups them."""
_ALIASES = {"register-server": "serve", "watcher": "watch"}


class LazyGroup(click.Group):
    """Knows its commands by name, and imports one only to run it or to show its help."""

    shown: ClassVar[list[str]] = [*_COMMANDS, *VERBS]

    def list_commands(self, context: click.Context) -> list[str]:
        return self.shown

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        name = _ALIASES.get(name, name)
        if name in VERBS:
            from penstock.commands.verbs import command_for

            return command_for(name)
        if name not in _COMMANDS:
            return None
        module, _, called = _COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), called or "command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in SECTIONS.items():
            found = [(name, self.get_command(context, name)) for name in names]
            with formatter.section(section):
                formatter.write_dl([(name, command.get_short_help_str(60)) for name, command in found if command])

    def invoke(self, context: click.Context) -> Any:
        with exit_on_failure(as_json="--json" in context.args):
            return super().invoke(context)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  penstock up                          everything at once, on a SQLite file
  penstock register example --wait     run the sample workflow and watch it
  penstock ps --failed                 what needs a person, and why
  penstock why FLOW                    what it waits for, and what would help

\b
Exit codes: 0 done · 1 failed, or could not start · 2 wrong usage · 3 not found · 4 refused
            5 database not reachable · 6 stopped without handing tasks back · 124 timed out · 130 interrupted""",
)
@click.version_option(__version__, "-V", "--version", package_name="penstock")
@click.option(
    "--config",
    envvar="PENSTOCK_CONFIG",
    metavar="FILE",
    help="A TOML file with settings; ./penstock.toml is read if it is there. Flags and PENSTOCK_* win over it.",
)
@click.pass_context
def cli(context: click.Context, config: str | None) -> None:
    """Penstock runs workflows that are rows in a database."""
    context.default_map = load_config(config, LazyGroup.shown, lambda name: cli.get_command(context, name))
