"""The hooks a plugin may implement, and the two markers."""

import pluggy

from programs.contract import Program

PROJECT = "penstock"  # also the prefix of every hook, and the entry-point group

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def penstock_programs() -> list[Program]:  # type: ignore[empty-body]
    """The programs this plugin brings. Called once, at start; keep it free of I/O."""
