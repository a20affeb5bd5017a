"""What went wrong -> one line for a person, and an exit code for a script."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from engine import errors
from penstock.doors import problems
from penstock.visible import visible, visible_json
from programs.errors import CatalogueError

_CODES: dict[type[Exception], int] = {
    errors.UnknownWorkflow: 3,
    errors.UnknownFlow: 3,
    errors.UnknownVersion: 3,
    errors.UnknownTask: 3,
    errors.UnknownWait: 3,
    errors.UnknownWatcher: 3,
    errors.UnknownToken: 3,
    errors.UnknownPrincipal: 3,
    errors.Conflict: 4,
    errors.AlreadyAnswered: 4,
    errors.NotAllowed: 4,
    errors.Forbidden: 4,
    problems.NotFound: 3,
    problems.BadRequest: 2,
    problems.Refused: 4,
    problems.Unavailable: 5,
    errors.BadDefinition: 4,
    errors.BadRequest: 2,
    errors.KeyReused: 4,
    errors.TooManyFlows: 4,
    errors.DatabaseUnavailable: 5,
    errors.OutcomeUnknown: 5,
}


class CannotStart(errors.PenstockError):
    """A service cannot start as it is set up; the message says what to mend."""


class LeftBehind(errors.PenstockError):
    """A watcher stopped while the database was away: it could neither settle nor hand back what it held."""


class TimedOut(errors.PenstockError):
    """What was waited for did not happen in time."""


class Refused(errors.PenstockError):
    """Not done, because it would harm or because it was not confirmed."""


class UnknownProgram(errors.PenstockError):
    """No installed plugin brings a program of this name."""


class Spent(errors.PenstockError):
    """The watcher ended itself, as only the end of its process ends its stuck threads: start another."""


_CODES |= {Spent: 75, CannotStart: 1, LeftBehind: 6, TimedOut: 124, Refused: 4, UnknownProgram: 3}


@contextlib.contextmanager
def exit_on_failure(*, as_json: bool = False, always: int | None = None) -> Iterator[None]:
    """Turn Penstock's errors inside the block into words on stderr and an exit code; others stay bugs. `always`: this
    code, whatever the error. Texts of others in them, and in those of click, are shown as they are everywhere."""
    try:
        yield
    except (errors.PenstockError, CatalogueError) as error:
        code = always or next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1)
        if as_json:
            click.echo(visible_json({"error": type(error).__name__, "message": str(error), "exit": code}))
        else:
            click.echo(visible(f"penstock: {error}"), err=True)
        sys.exit(code)
    except click.ClickException as error:
        vars(error)["message"] = visible(error.message)  # it counts as final, and click has no other place for it
        raise
    except KeyboardInterrupt:
        sys.exit(130)
