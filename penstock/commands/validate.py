"""`penstock validate`: find everything that is wrong with files, without a database."""

from __future__ import annotations

import click

from penstock import options

EXAMPLES = """\b
Examples:
  penstock validate load.toml
  penstock validate workflows/ --json
  penstock validate load.toml --no-check-programs      where the plugins are not installed
"""


@click.command("validate", epilog=EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@options.check_option
@options.plugin_options
@options.json_option
def command(files: tuple[str, ...], check_programs: bool, plugins: str | None, no_plugins: bool, as_json: bool) -> None:
    """Check FILES (TOML, JSON or SQL) as `penstock apply` would; exit 4 if anything is wrong.

    Each line that is wrong is named: unknown names, edges that lead nowhere, circles, expressions that cannot be read,
    programs that are not installed here, and parameters that they do not take. No database is needed; what the
    statements of a SQL file add up to is only known to one, so of these only the form is checked.
    """
    from penstock import output, services, workflow_files

    found = workflow_files.read_all(files)
    check = services.program_check(services.catalogue(plugins, no_plugins)) if check_programs else None
    looked = [(file, workflow_files.look(file, check)) for file in found]
    if as_json:
        output.echo_json([{"file": file.name, **result.as_json()} for file, result in looked])
    else:
        for file, result in looked:
            for problem in result.problems:
                output.say(workflow_files.shown(file, problem))
            if not result.problems:
                output.say(f"{file.name}: good", fg="green")
    if any(result.problems for _, result in looked):
        raise SystemExit(4)
