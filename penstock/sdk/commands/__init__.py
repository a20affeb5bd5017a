"""Every command of docs/commands.md as a method with its arguments.

To add one: a method in one of these files, with the arguments of the command's model and `reason`. Where the answer has
a shape of its own, `read=` makes it of the answer's document. tests/sdk/test_verbs.py names a command or an argument
that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.sdk.asking import Request, asking
from penstock.sdk.commands.on_flows import OnFlows
from penstock.sdk.commands.on_limits import OnLimits
from penstock.sdk.commands.on_tokens import OnTokens
from penstock.sdk.commands.on_waits import OnWaits
from penstock.sdk.commands.on_workflows import OnWorkflows


class Commands(OnFlows, OnWorkflows, OnWaits, OnLimits, OnTokens):
    """What may be asked for. `reason` is recorded with the command, and shown to whoever asks why.

    Errors: NotFound, BadRequest, Refused (docs/control.md says what each verb refuses).
    """

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
