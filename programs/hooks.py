"""The hooks a plugin may implement, and the two markers."""

import pluggy

from programs.contract import Program

PROJECT = "penstock"  # also the prefix of every hook, and the entry-point group

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def penstock_programs() -> list[Program]:  # type: ignore[empty-body]
    """The programs this plugin brings. Called once, at start; keep it free of I/O."""


@hookspec(firstresult=True)
def penstock_secret(reference: str) -> str | None:
    """The secret that a definition refers to as `{"$secret": "vault:path"}`; None if it is not this plugin's to know.
    Called where the program runs, for each try; whatever it raises suspends the task."""
