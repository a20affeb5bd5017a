"""One execution of a program: check, run, and see that the answer is an outcome."""

import asyncio
import inspect
from collections.abc import Awaitable

from programs.contract import Call, Program
from programs.errors import AddressRefused, BadOutcome
from programs.outcomes import OUTCOMES, Fail, Outcome
from programs.parameters import check


def invoke(program: Program, call: Call) -> Outcome:
    """Run `program` with the raw `call.params` and return its outcome.

    Errors: ParameterError before anything runs; BadOutcome after; `Stopped` and all else the program raises pass.
    An `async` program gets an event loop of its own, so this must not be called from inside one. A request to where
    programs may not go (AddressRefused) fails the task for good: only an operator can change that.
    """
    try:
        answer = _begun(program, call)
        if not isinstance(answer, OUTCOMES) and inspect.isawaitable(answer):
            answer = asyncio.run(_wait(answer))
    except AddressRefused as error:
        return Fail(str(error), retry=False)
    return _outcome(program, answer)


async def invoke_async(program: Program, call: Call) -> Outcome:
    """As `invoke`, on the event loop of the caller."""
    try:
        answer = _begun(program, call)
        if inspect.isawaitable(answer):
            answer = await answer
    except AddressRefused as error:
        return Fail(str(error), retry=False)
    return _outcome(program, answer)


def _begun(program: Program, call: Call) -> object:
    checked = check(program, call.params)
    return program.run(call.checked(checked), **checked)


def _outcome(program: Program, answer: object) -> Outcome:
    if not isinstance(answer, OUTCOMES):
        raise BadOutcome(program.name, answer)
    return answer


async def _wait(answer: Awaitable[object]) -> object:
    return await answer
