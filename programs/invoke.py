"""One execution of a program: check, run, and see that the answer is an outcome."""

import asyncio
import inspect
from collections.abc import Awaitable
from dataclasses import replace
from types import MappingProxyType

from programs.contract import Call, Program
from programs.errors import BadOutcome
from programs.outcomes import OUTCOMES, Outcome
from programs.parameters import check


def invoke(program: Program, call: Call) -> Outcome:
    """Run `program` with the raw `call.params` and return its outcome.

    Errors: ParameterError before anything runs; BadOutcome after; `Stopped` and all else the program raises pass.
    An `async` program gets an event loop of its own, so this must not be called from inside one.
    """
    checked = check(program, call.params)
    answer: object = program.run(replace(call, params=MappingProxyType(checked)), **checked)
    if inspect.isawaitable(answer):
        answer = asyncio.run(_wait(answer))
    if not isinstance(answer, OUTCOMES):
        raise BadOutcome(program.name, answer)
    return answer


async def _wait(answer: Awaitable[object]) -> object:
    return await answer
