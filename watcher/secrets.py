"""Where secrets are looked up: in the environment of the process that runs the program, in files, and by plugins.

A secret that was looked up is masked from then on in what the process stores: logs, errors and results.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engine.definition.secret_references import problem_of, replaced
from engine.preparing.refusals import Refused
from engine.states import Reason
from watcher import masking

OWN: Final = ("PENSTOCK_*", "DB_*")
"""Variables of Penstock's own, which no task needs."""
MAX_BYTES: Final = 64 * 1024
Ask = Callable[[str], str | None]
"""A plugin's way to look a reference up; None: it knows no such thing."""


class Secrets:
    """`variables`: patterns of the environment variables that tasks may be given; `folder`: where files of secrets are;
    None: nowhere. `ask`: what plugins know."""

    def __init__(
        self,
        variables: Sequence[str] = ("*",),
        folder: str | None = None,
        ask: Ask | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._variables = tuple(variables)
        self._folder = None if folder is None else Path(folder).resolve()
        self._ask = ask
        self._environment = os.environ if environment is None else environment

    def filled(self, parameters: Mapping[str, Any], raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The parameters with their secrets, and these. `raw`: of those that have references, as the definition says
        them. Errors: Refused, which names the parameter and never the secret."""
        done, used = dict(parameters), []

        def look_up(named: str, name: str) -> str:
            found = self._look_up(name, named)
            used.append(found)
            return found

        for name, source in raw.items():
            if name in done:
                done[name] = replaced(source, done[name], lambda named, name=name: look_up(named, name))  # type: ignore[misc]
        masking.add(used)
        return done, used

    def _look_up(self, name: str, named: str) -> str:
        if problem := problem_of(named):
            raise _refused(name, problem)
        scheme, _, rest = named.partition(":")
        if scheme == "env":
            return self._of_environment(name, rest)
        if scheme == "file":
            return self._of_file(name, rest)
        try:
            found = None if self._ask is None else self._ask(named)
        except Exception as error:  # whatever a plugin does, and whatever it says: its words may hold the secret
            raise _refused(name, f"a plugin failed to look {named!r} up: {type(error).__name__}") from None
        if not isinstance(found, str):
            raise _refused(name, f"no plugin here knows the secret {named!r}")
        return found

    def _of_environment(self, name: str, variable: str) -> str:
        allowed = any(fnmatch.fnmatchcase(variable, pattern) for pattern in self._variables)
        if not allowed or any(fnmatch.fnmatchcase(variable, pattern) for pattern in OWN):
            raise _refused(name, f"the variable {variable!r} is not for tasks here (--secret-env)")
        found = self._environment.get(variable)
        if found is None:
            raise _refused(name, f"the variable {variable!r} is not set where the task runs")
        return found

    def _of_file(self, name: str, path: str) -> str:
        """Below the folder, also after every link. A line end behind the secret is none of it."""
        if self._folder is None:
            raise _refused(name, "secrets of files are not for tasks here (--secret-dir)")
        try:
            file = (self._folder / path).resolve()
            if not file.is_relative_to(self._folder) or file == self._folder:
                raise _refused(name, f"the file {path!r} is not in the folder of secrets")
            with file.open("rb") as source:
                text = source.read(MAX_BYTES + 1).decode()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise _refused(name, f"the file of secrets {path!r} cannot be read: {why}") from None
        if len(text) > MAX_BYTES:
            raise _refused(name, f"the file {path!r} is longer than {MAX_BYTES:,} bytes")
        return text.removesuffix("\n").removesuffix("\r")


NO_SECRETS: Final = Secrets(variables=())
"""For whoever runs tasks without having been told of any."""


def _refused(name: str, why: str) -> Refused:
    return Refused(Reason.BAD_PARAMETERS, f"parameter {name!r}: {why}")
