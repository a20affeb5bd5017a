"""`penstock completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  penstock completion bash > ~/.local/share/bash-completion/completions/penstock
  penstock completion zsh  > "${fpath[1]}/_penstock"
  penstock completion fish > ~/.config/fish/completions/penstock.fish
"""


@click.command("completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for a shell."""
    from penstock.cli import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "penstock", "_PENSTOCK_COMPLETE").source())
