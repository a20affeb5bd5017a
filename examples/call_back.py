"""The program of call_back.sql. To use it, put it into a package such as penstock-plugin-hello."""

from penstock import Await, Call, Finish, Outcome, Program, guarded_session, hookimpl, program

PATIENCE_S = 3600


@program("AskScanner")
def ask_scanner(call: Call, URL: str) -> Outcome:
    """Have the service at URL scan something, and finish with what it says when it calls back. Safe to repeat."""
    if call.arrivals:
        called = call.arrivals[-1]
        if called.expired:
            raise TimeoutError(f"the scanner did not call back within {PATIENCE_S} s")
        return Finish(called.payload)
    token = call.new_token()
    with guarded_session(call) as session:
        session.post(URL, json={"token": token}, timeout=30).raise_for_status()
    return Await("callback", key=token, until=PATIENCE_S)


@hookimpl
def penstock_programs() -> list[Program]:
    return [ask_scanner]
