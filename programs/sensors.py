"""Sensors: look now and then whether something is there, and hold no worker in between."""

from typing import Annotated

from pydantic import Field

from programs.contract import Call, Program
from programs.exchange import ExchangeError, Request, exchange
from programs.guard import Guard
from programs.outcomes import Again, Finish, Outcome
from programs.web import Timeout, Url

Every = Annotated[float, Field(gt=0, description="seconds between two looks")]
GiveUp = Annotated[float, Field(gt=0, description="seconds after which the task fails; left out: never")]


class WaitForHTTP(Program):
    """GET URL every EVERY_S seconds until the answer is any 2xx; its status and body are the result. Safe to repeat."""

    name = "WaitForHTTP"

    def run(
        self,
        call: Call,
        URL: Url,
        EVERY_S: Every = 60,
        TIMEOUT_S: GiveUp | None = None,
        REQUEST_TIMEOUT_S: Timeout = 30,
    ) -> Outcome:
        request = Request("GET", URL, None, {})
        try:
            answer = exchange(request, REQUEST_TIMEOUT_S, Guard(call.http_networks))
        except ExchangeError as error:
            call.logger.info("%s", error)
            return Again(after=EVERY_S, timeout=TIMEOUT_S)
        call.logger.info("%s answered %d %s", answer.request, answer.status, answer.reason)
        if not 200 <= answer.status < 300:
            return Again(after=EVERY_S, timeout=TIMEOUT_S)
        return Finish({"status": answer.status, "body": answer.text})
