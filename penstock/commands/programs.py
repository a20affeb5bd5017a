"""`penstock programs`: what the `program` column may name."""

from __future__ import annotations

from typing import Any

import click

from penstock import options

EXAMPLES = """\b
Examples:
  penstock programs
  penstock programs EchoParamTimeSleep       its parameters
  penstock programs --json                   with the JSON schema of the parameters
"""


@click.command("programs", epilog=EXAMPLES)
@click.argument("name", required=False)
@options.plugin_options
@options.json_option
def command(name: str | None, plugins: str | None, no_plugins: bool, as_json: bool) -> None:
    """List the programs of this installation: name, parameters, plugin, version."""
    from penstock import output, services
    from penstock.failures import UnknownProgram

    found = services.listed(services.catalogue(plugins, no_plugins))
    if name is not None:
        found = [entry for entry in found if entry["name"] == name]
        if not found:
            raise UnknownProgram(f"no program is called {name!r}: `penstock programs` lists those of this installation")
    if as_json:
        output.echo_json(found)
    elif name is not None:
        _show(found[0])
    else:
        columns = ("program", "executor", "parameters", "plugin", "version", "what it does")
        rows = [
            (e["name"], e["executor"], _brief(e["parameters"]), e["plugin"], e["version"], e["description"])
            for e in found
        ]
        output.console().print(output.table(None, columns, rows))


def _brief(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    return " ".join(name if name in required else f"[{name}]" for name in schema.get("properties", {}))


def _show(entry: dict[str, Any]) -> None:
    from penstock import output

    output.say(f"{entry['name']}: {entry['description']}  ({entry['plugin']} {entry['version']}, {entry['executor']})")
    schema = entry["parameters"]
    required = schema.get("required", [])
    rows = [
        (
            name,
            _kind(part),
            "required" if name in required else f"default {part.get('default')!r}",
            part.get("description"),
        )
        for name, part in schema.get("properties", {}).items()
    ]
    if rows:
        output.console().print(output.table(None, ("parameter", "type", "", "meaning"), rows))


def _kind(part: dict[str, Any]) -> str:
    if "anyOf" in part:
        return " or ".join(_kind(option) for option in part["anyOf"])
    return str(part.get("format") or part.get("type") or "any")
