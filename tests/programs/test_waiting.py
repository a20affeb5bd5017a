"""The programs that wait: what they ask for first, and what they make of what came."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from programs import timers
from programs.contract import Arrival
from programs.errors import ParameterError
from programs.invoke import invoke
from programs.outcomes import Again, Await, Fail, Finish
from programs.sensors import WaitForHTTP
from programs.timers import Wait, after
from programs.waiting import Approval, Form, WaitForMessage

NOW = datetime(2031, 1, 31, 12, tzinfo=UTC)


class Clock(datetime):
    """A watcher's clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return NOW.astimezone(tz)


def came(kind, payload=None, *, expired=False, by="ann"):
    return [Arrival(kind, "n", "k", payload, expired, NOW, by)]


@pytest.mark.parametrize(
    "params, until",
    [
        ({"SECONDS": "1.5"}, 1.5),
        ({"SECONDS": 0}, 0.0),
        ({"DURATION": "PT1H30M"}, timedelta(hours=1, minutes=30)),
        ({"DURATION": "P2W"}, timedelta(weeks=2)),
        ({"DURATION": "P1DT0.5S"}, timedelta(days=1, seconds=0.5)),
        ({"UNTIL": "2030-01-31T09:00:00+01:00"}, datetime(2030, 1, 31, 8, tzinfo=UTC)),
        ({"UNTIL": "2030-01-31T08:00Z"}, datetime(2030, 1, 31, 8, tzinfo=UTC)),
    ],
    ids=str,
)
def test_wait_awaits_a_time(make_call, params, until):
    assert invoke(Wait(), make_call(params)) == Await("timer", until=until)


@pytest.mark.parametrize(
    "duration, until",
    [
        ("P1M", datetime(2031, 2, 28, 12, tzinfo=UTC)),
        ("P13M", datetime(2032, 2, 29, 12, tzinfo=UTC)),
        ("P1Y1M", datetime(2032, 2, 29, 12, tzinfo=UTC)),
        ("P1Y", datetime(2032, 1, 31, 12, tzinfo=UTC)),
        ("P1MT1H", datetime(2031, 2, 28, 13, tzinfo=UTC)),
        ("P3M", datetime(2031, 4, 30, 12, tzinfo=UTC)),
    ],
)
def test_months_and_years_are_those_of_the_calendar(make_call, monkeypatch, duration, until):
    monkeypatch.setattr(timers, "datetime", Clock)
    assert invoke(Wait(), make_call({"DURATION": duration})).until == until


def test_a_leap_day_and_a_year(monkeypatch):
    import isodate

    assert after(isodate.parse_duration("P1Y"), datetime(2032, 2, 29, tzinfo=UTC)) == datetime(2033, 2, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    "params, name",
    [
        ({"SECONDS": "-1"}, "SECONDS"),
        ({"SECONDS": "inf"}, "SECONDS"),
        *(({"DURATION": wrong}, "DURATION") for wrong in ("1h", "", "P", "-P1D", "PT-1S", "P-1M", "P99999Y", "P0.5M")),
        *(({"UNTIL": wrong}, "UNTIL") for wrong in ("2030-01-31T09:00:00", "tomorrow", "", "1700000000")),
    ],
    ids=str,
)
def test_a_time_that_is_none_is_refused(make_call, params, name):
    with pytest.raises(ParameterError, match=f"parameters of Wait: {name}"):
        invoke(Wait(), make_call(params))


@pytest.mark.parametrize("params", [{}, {"SECONDS": 1, "DURATION": "PT1S"}])
def test_wait_takes_one_of_its_three(make_call, params):
    assert invoke(Wait(), make_call(params)) == Fail(
        "Wait takes exactly one of SECONDS, DURATION and UNTIL", retry=False
    )


def test_wait_finishes_once_its_time_has_come(make_call):
    assert invoke(Wait(), make_call({"SECONDS": 5}, arrivals=came("timer"))) == Finish()


MESSAGE = {"NAME": "paid", "KEY": "7"}


def test_wait_for_message(make_call):
    first = invoke(WaitForMessage(), make_call({**MESSAGE, "TIMEOUT_S": "60"}))
    assert first == Await("message", name="paid", key="7", until=60)
    assert invoke(WaitForMessage(), make_call(MESSAGE)).until is None
    assert invoke(WaitForMessage(), make_call(MESSAGE, arrivals=came("message", {"sum": 3}))) == Finish({"sum": 3})


def test_a_message_that_does_not_come(make_call):
    late = came("message", expired=True)
    call = make_call({**MESSAGE, "TIMEOUT_S": 60}, arrivals=late)
    assert invoke(WaitForMessage(), call) == Fail("no message 'paid' for '7' within 60 s")
    call = make_call({**MESSAGE, "TIMEOUT_S": 60, "ON_TIMEOUT": "finish"}, arrivals=late)
    assert invoke(WaitForMessage(), call) == Finish()


def test_a_message_that_a_person_lets_expire_by_sql(make_call):
    call = make_call(MESSAGE, arrivals=came("message", expired=True))
    assert invoke(WaitForMessage(), call) == Fail("no message 'paid' for '7' came in time")


@pytest.mark.parametrize("wrong", [{"NAME": ""}, {"KEY": "x" * 257}, {"ON_TIMEOUT": "explode"}, {"TIMEOUT_S": "-1"}])
def test_wait_for_message_names_what_is_wrong(make_call, wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        invoke(WaitForMessage(), make_call(MESSAGE | wrong))


def test_approval_asks(make_call):
    params = {"PROMPT": "Deploy?", "CANDIDATES": '["ann", "bob"]', "TIMEOUT_S": "60"}
    details = {"prompt": "Deploy?", "candidates": ["ann", "bob"]}
    assert invoke(Approval(), make_call(params)) == Await("approval", name="Deploy?", until=60, details=details)
    plain = invoke(Approval(), make_call({"PROMPT": "x" * 1000}))
    assert (plain.name, plain.details, plain.until) == ("x" * 256, {"prompt": "x" * 1000}, None)


def approval(make_call, arrivals, **params):
    return invoke(Approval(), make_call({"PROMPT": "Deploy?", **params}, arrivals=arrivals))


def test_approval_heeds_the_answer(make_call):
    assert approval(make_call, came("approval", {"approved": True})) == Finish({"approved": True})
    no = came("approval", {"approved": False, "why": "late"})
    assert approval(make_call, no) == Fail("not approved by ann", retry=False)
    assert approval(make_call, no, REJECTED="finish") == Finish({"approved": False, "why": "late"})
    late = came("approval", expired=True)
    assert approval(make_call, late, TIMEOUT_S=60) == Fail("nobody answered within 60 s")
    assert approval(make_call, late) == Fail("nobody answered in time")


@pytest.mark.parametrize("payload", [None, "yes", [True], {}, {"approved": "yes"}], ids=str)
def test_an_answer_given_by_sql_must_be_an_approval_too(make_call, payload):
    answer = approval(make_call, came("approval", payload))
    assert answer == Fail('the answer is no approval: it has no boolean "approved"', retry=False)


def test_form_asks_and_hands_on(make_call):
    schema = {"type": "object", "required": ["rows"]}
    params = {"PROMPT": "How many?", "SCHEMA": '{"type": "object", "required": ["rows"]}', "TIMEOUT_S": 60}
    details = {"prompt": "How many?", "schema": schema}
    assert invoke(Form(), make_call(params)) == Await("form", name="How many?", until=60, details=details)
    assert invoke(Form(), make_call(params, arrivals=came("form", {"rows": 3}))) == Finish({"rows": 3})
    late = came("form", expired=True)
    assert invoke(Form(), make_call(params, arrivals=late)) == Fail("nobody answered within 60 s")


@pytest.mark.parametrize("schema", ["7", "[]", '{"type": 7}', '{"type": "objet"}', "{"])
def test_a_form_names_a_schema_that_is_none(make_call, schema):
    with pytest.raises(ParameterError, match="parameters of Form: SCHEMA"):
        invoke(Form(), make_call({"PROMPT": "?", "SCHEMA": schema}))


class Site:
    """A service that is there from its third request on."""

    def __init__(self):
        self.asked = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked += 1
                self.send_response(200 if site.asked > 2 else 503)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"up")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/health"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def test_wait_for_http_looks_again_until_it_is_there(make_call, site, caplog):
    caplog.set_level(logging.INFO)
    call = make_call({"URL": site.url, "EVERY_S": "5", "TIMEOUT_S": "60"}, http_networks=("127.0.0.1",))
    assert [invoke(WaitForHTTP(), call) for _ in range(2)] == [Again(after=5, timeout=60)] * 2
    assert invoke(WaitForHTTP(), call) == Finish({"status": 200, "body": "up"})
    assert "answered 503" in caplog.text


def test_wait_for_http_waits_for_a_server_that_is_not_even_there(make_call, caplog):
    caplog.set_level(logging.INFO)
    call = make_call({"URL": "http://127.0.0.1:1/"}, http_networks=("127.0.0.1:1",))
    assert invoke(WaitForHTTP(), call) == Again(after=60)
    assert "connection failed" in caplog.text


@pytest.mark.parametrize("wrong", [{"URL": "ftp://x"}, {"EVERY_S": "0"}, {"TIMEOUT_S": "0"}])
def test_wait_for_http_names_what_is_wrong(make_call, wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        invoke(WaitForHTTP(), make_call({"URL": "http://127.0.0.1:1/", **wrong}))
