import logging
import threading
import time

import pytest

from programs.contract import Stopped
from programs.echo import EchoParamTimeSleep, EchoRandomTimeSleep, FailForTrials, Noop
from programs.errors import ParameterError
from programs.invoke import invoke
from programs.outcomes import Fail, Finish


def seconds_of(program, call):
    started = time.monotonic()
    assert isinstance(invoke(program, call), Finish)
    return time.monotonic() - started


def test_param_sleep_sleeps_as_long_as_asked(make_call):
    assert 0.2 <= seconds_of(EchoParamTimeSleep(), make_call({"SLEEP_TIME_SECOND": "0.2"})) < 2
    assert seconds_of(EchoParamTimeSleep(), make_call({"SLEEP_TIME_SECOND": "0"})) < 0.2


@pytest.mark.parametrize("params", [{}, *({"SLEEP_TIME_SECOND": bad} for bad in ("x", "-1", "nan", "", None))])
def test_param_sleep_names_the_parameter_that_is_wrong(make_call, params):
    with pytest.raises(ParameterError, match="parameters of EchoParamTimeSleep: SLEEP_TIME_SECOND"):
        invoke(EchoParamTimeSleep(), make_call(params))


def test_random_sleep_keeps_within_its_bounds(make_call, monkeypatch):
    asked = []
    monkeypatch.setattr("programs.echo.random.uniform", lambda low, high: asked.append((low, high)) or 0)
    invoke(EchoRandomTimeSleep(), make_call())
    invoke(EchoRandomTimeSleep(), make_call({"MIN_SECOND": "2", "MAX_SECOND": "3"}))
    assert asked == [(1, 5), (2, 3)]


def test_random_sleep_really_sleeps(make_call):
    assert 0.1 <= seconds_of(EchoRandomTimeSleep(), make_call({"MIN_SECOND": "0.1", "MAX_SECOND": "0.2"})) < 2


def test_random_sleep_refuses_swapped_bounds(make_call):
    assert invoke(EchoRandomTimeSleep(), make_call({"MIN_SECOND": "6"})) == Fail(
        "MIN_SECOND (6) must not be above MAX_SECOND (5)"
    )


def test_start_and_finish_are_logged(make_call, caplog):
    caplog.set_level(logging.INFO)
    invoke(EchoParamTimeSleep(), make_call({"SLEEP_TIME_SECOND": "0"}, program="EchoParamTimeSleep"))
    assert [r.getMessage() for r in caplog.records] == [
        "EchoParamTimeSleep starts: sleeping 0 s",
        "EchoParamTimeSleep finished",
    ]


def test_sleepers_wake_when_the_watcher_stops(make_call):
    for program, params in [(EchoParamTimeSleep(), {"SLEEP_TIME_SECOND": "60"}), (EchoRandomTimeSleep(), {})]:
        stop = threading.Event()
        stop.set()
        with pytest.raises(Stopped):
            invoke(program, make_call(params, stop=stop))


def test_noop_finishes_and_takes_nothing(make_call):
    assert invoke(Noop(), make_call()) == Finish()
    with pytest.raises(ParameterError, match="X: unknown parameter; this program takes none"):
        invoke(Noop(), make_call({"X": "1"}))


def test_fail_for_trials_fails_until_the_attempt_given(make_call):
    assert invoke(FailForTrials(), make_call({"MESSAGE": "no"})) == Fail("no")
    assert isinstance(invoke(FailForTrials(), make_call(attempt=99)), Fail)
    outcomes = [invoke(FailForTrials(), make_call({"FAIL_UNTIL_ATTEMPT": "3"}, attempt=n)) for n in (1, 2, 3, 4)]
    assert [type(o) for o in outcomes] == [Fail, Fail, Finish, Finish]
