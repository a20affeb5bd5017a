"""Does a step fit the programs that are installed here? Asked when a workflow is compiled, before anything runs."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from programs.catalogue import Catalogue
from programs.complaints import complaints
from programs.parameters import parameter_model


def misfits(catalogue: Catalogue, name: str, parameters: Mapping[str, Any], later: Collection[str] = ()) -> list[str]:
    """What is wrong with this program and these parameters, each with what to do about it; empty if nothing is.

    `later`: parameters whose values are worked out when the task begins: only their names are looked at. What is
    missing is no fault yet: the flow's parameters may bring it.
    """
    entry = catalogue.get(name)
    if entry is None:
        return [f"no program is called {name!r}{_nearest(catalogue, name)}"]
    fit = parameter_model(entry.program)
    try:
        fit.model.model_validate({**dict.fromkeys(later), **parameters})
        wrong: list[str] = []
    except ValidationError as error:
        wrong = complaints(error, fit.schema, lambda found: _counts(found, later))
    wrong += [f"{known}: a name kept for the call itself" for known in parameters if known in fit.reserved]
    return [f"program {name}: parameter {problem}" for problem in wrong]


def executor_misfits(catalogue: Catalogue, name: str, executor: str | None, is_exclusive: bool) -> list[str]:
    """What is wrong with running this program there; empty if nothing is. `executor` is the step's own, or None."""
    entry = catalogue.get(name)
    if entry is None:
        return []
    program = entry.program
    if executor == "async" and not program.is_async:
        return [f"program {name} is no `async def`, as the executor async needs: choose thread or process"]
    if is_exclusive and (executor or program.chosen_executor) != "process":
        words = f"an exclusive task needs the executor process, and program {name} runs in {program.chosen_executor}"
        return [f"{words}: set the step's executor to process"]
    if (executor or program.chosen_executor) == "process" and program.stays_inside:
        return [f"program {name} needs the watcher's own process and cannot run in another: choose thread"]
    return []


def _counts(error: Mapping[str, Any], later: Collection[str]) -> bool:
    if not error["loc"] or error["type"] == "extra_forbidden":
        return True
    return error["loc"][0] not in later and (error["type"] != "missing" or len(error["loc"]) > 1)


def _nearest(catalogue: Catalogue, name: str) -> str:
    by_case = {known.upper(): known for known in catalogue}
    close = difflib.get_close_matches(name.upper(), by_case, n=3)
    hint = f", did you mean {' or '.join(repr(by_case[one]) for one in close)}?" if close else ";"
    return f"{hint} install its plugin here, or let the watchers see to it with --no-check-programs"
