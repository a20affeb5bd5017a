import asyncio
import threading
import time
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from programs.contract import Call, Program, Stopped, program
from programs.errors import BadOutcome, ParameterError
from programs.invoke import invoke
from programs.outcomes import Again, Fail, Finish, Outcome


@pytest.mark.parametrize("again", [Again(0), Again(2.5), Again(timedelta(minutes=1)), Again(at=datetime.now(UTC))])
def test_again_accepts_a_delay_or_a_time(again):
    assert (again.after is None) != (again.at is None)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "exactly one"),
        ({"after": 1, "at": datetime.now(UTC)}, "exactly one"),
        ({"after": -0.1}, "0 or more"),
        ({"after": timedelta(seconds=-1)}, "0 or more"),
        ({"after": float("nan")}, "finite"),
        ({"after": float("inf")}, "finite"),
        ({"after": "3"}, "seconds or a timedelta"),
        ({"after": True}, "seconds or a timedelta"),
        ({"at": datetime(2030, 1, 1)}, "time zone"),
        ({"at": "2030-01-01"}, "time zone"),
    ],
)
def test_again_refuses_what_makes_no_sense(given, message):
    with pytest.raises(ValueError, match=message):
        Again(**given)


def test_fail_refuses_an_exception_in_place_of_its_text():
    with pytest.raises(ValueError, match="KeyError"):
        Fail(KeyError("x"))


def test_outcomes_and_calls_are_frozen(make_call):
    for thing, field in ((Finish(1), "result"), (Fail("x"), "error"), (Again(1), "after"), (make_call(), "attempt")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, field, 2)


def test_a_call_does_not_print_its_parameters(make_call):
    assert "hunter2" not in repr(make_call({"PASSWORD": "hunter2"}, flow_parameters={"P": "hunter2"}))


def test_sleep_wakes_when_stop_is_set(make_call):
    call = make_call()
    threading.Timer(0.05, call.stop.set).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        call.sleep(30)
    assert time.monotonic() - started < 5
    assert call.stopping


def test_sleep_returns_after_its_time_and_takes_any_length(make_call):
    call = make_call()
    started = time.monotonic()
    call.sleep(0.05)
    assert time.monotonic() - started >= 0.05
    assert not call.stopping
    threading.Timer(0.05, call.stop.set).start()
    with pytest.raises(Stopped):
        call.sleep(1e300)


class Doubler(Program):
    """Doubles X.

    Not part of the description.
    """

    name = "Doubler"

    def run(self, call: Call, X: int) -> Outcome:
        return Finish({"double": 2 * X, "params": dict(call.params), "attempt": call.attempt})


def test_invoke_checks_the_parameters_and_puts_them_into_the_call(make_call):
    assert invoke(Doubler(), make_call({"X": "21"}, attempt=3)) == Finish(
        {"double": 42, "params": {"X": 21}, "attempt": 3}
    )
    with pytest.raises(ParameterError, match="parameters of Doubler: X: expected a valid integer"):
        invoke(Doubler(), make_call({"X": "many"}))


def test_the_description_is_the_first_line_of_the_own_docstring():
    assert Doubler().description == "Doubles X."
    assert type("Silent", (Doubler,), {})().description == ""


def answering(value: Any) -> Program:
    class Answering(Program):
        name = "Answering"

        def run(self, call: Call) -> Outcome:
            return value

    return Answering()


@pytest.mark.parametrize(
    "answer, named",
    [(None, "None"), ({"a": 1}, "dict"), (True, "bool"), (Finish, "the class Finish"), ((x for x in ()), "generator")],
)
def test_a_program_that_answers_with_no_outcome_is_refused(make_call, answer, named):
    with pytest.raises(BadOutcome, match=f"Answering returned {named} instead of an outcome"):
        invoke(answering(answer), make_call())


def test_async_programs_are_awaited(make_call):
    class Later(Program):
        name = "Later"

        async def run(self, call: Call, X: int) -> Outcome:
            await asyncio.sleep(0)
            return Finish(X)

    class Nothing(Program):
        name = "Nothing"

        async def run(self, call: Call) -> None:
            await asyncio.sleep(0)

    assert invoke(Later(), make_call({"X": "1"})) == Finish(1)
    with pytest.raises(BadOutcome, match="returned None"):
        invoke(Nothing(), make_call())


def test_async_programs_can_sleep_until_stopped(make_call):
    @program
    async def waiter(call: Call):
        await asyncio.to_thread(call.sleep, 30)

    call = make_call()
    threading.Timer(0.05, call.stop.set).start()
    with pytest.raises(Stopped):
        invoke(waiter, call)


def test_a_function_becomes_a_program(make_call):
    @program
    def add(A: int, B: int = 2) -> int:
        """Adds."""
        return A + B

    assert (add.name, add.description) == ("add", "Adds.")
    assert invoke(add, make_call({"A": "1"})) == Finish(3)
    assert add(5, B=6) == 11, "stays callable"


def test_the_decorator_takes_a_name():
    def f() -> None: ...

    assert program("other")(f).name == program(name="other")(f).name == "other"
    assert program()(f).name == "f"


@pytest.mark.parametrize("outcome", [Finish(1), Fail("no"), Again(5)])
def test_a_function_may_answer_with_an_outcome(make_call, outcome):
    assert invoke(program("f")(lambda: outcome), make_call()) == outcome


def test_a_function_may_return_nothing_but_not_an_outcome_class(make_call):
    assert invoke(program("f")(lambda: None), make_call()) == Finish(None)
    with pytest.raises(BadOutcome, match="the class Again"):
        invoke(program("f")(lambda: Again), make_call())


def test_a_function_gets_the_call_by_annotation_or_by_name(make_call):
    def annotated(c: "Call", X: int): return (c.attempt, X)  # fmt: skip

    def named(call, X: int): return (call.attempt, X)  # fmt: skip

    async def later(call, X: int): return (call.attempt, X)  # fmt: skip

    for function in (annotated, named, later):
        assert invoke(program("f")(function), make_call({"X": 2}, attempt=4)) == Finish((4, 2))


def test_a_function_may_have_parameters_called_like_those_of_run(make_call):
    @program
    def odd(X: int, call: int, self: int) -> int:
        return X + call + self

    assert invoke(odd, make_call({"X": 1, "call": 10, "self": 100})) == Finish(111)


def test_what_a_program_raises_passes(make_call):
    @program
    def broken():
        raise SystemExit("my own way out")

    with pytest.raises(SystemExit, match="my own way out"):
        invoke(broken, make_call())
