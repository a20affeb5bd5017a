"""HTTP requests as tasks."""

from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from programs.contract import Call, Program
from programs.exchange import Answer, ExchangeError, Request, exchange
from programs.guard import Guard
from programs.outcomes import Fail, Finish, Outcome

KEPT_HEADERS = ("Content-Type", "Location", "ETag", "Last-Modified", "Retry-After")
SHOWN = 500  # characters of an unwelcome answer, and of a header


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that starts with http:// or https:// and names a host")
    return url


def _text(body: object) -> object:
    if not isinstance(body, str):
        raise ValueError("expected the exact text to send, as a string; JSON too is written out as text")
    body.encode()  # a lone surrogate is no text; UnicodeEncodeError is a ValueError
    return body


Url = Annotated[str, AfterValidator(_http_url), Field(description="http or https")]
Text = Annotated[str, BeforeValidator(_text), Field(description="sent exactly as given, in UTF-8")]
Timeout = Annotated[float, Field(gt=0, le=86400, description="seconds until the whole answer must be there")]
HeaderText = Annotated[str, Field(pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")]
Scalar = str | int | float | bool | None
Query = Annotated[dict[str, Scalar | list[Scalar]], Field(description="appended to the URL; a list repeats its name")]


class HTTPPostRequest(Program):
    """POST BODY to URL; any 2xx is success, and the answer is the result.

    Not safe to repeat unless the server recognises the body: after a lost connection nobody knows whether it arrived.
    A redirect other than 307 and 308 is followed without the body, as browsers do.
    """

    name = "HTTPPostRequest"

    def run(
        self,
        call: Call,
        URL: Url,
        BODY: Text,
        CONTENT_TYPE: HeaderText = "application/json",
        TIMEOUT_SECOND: Timeout = 30,
    ) -> Outcome:
        request = Request("POST", URL.removesuffix("/"), BODY.encode(), {"Content-Type": CONTENT_TYPE})
        return _send(call, request, TIMEOUT_SECOND)


class HTTPGetRequest(Program):
    """GET URL; any 2xx is success, and the answer is the result. Safe to repeat."""

    name = "HTTPGetRequest"

    def run(self, call: Call, URL: Url, QUERY: Query | None = None, TIMEOUT_SECOND: Timeout = 30) -> Outcome:
        return _send(call, Request("GET", _with_query(URL, QUERY or {}), None, {}), TIMEOUT_SECOND)


def _with_query(url: str, query: dict[str, Any]) -> str:
    pairs = [(name, value) for name, values in query.items() for value in _listed(values) if value is not None]
    added = urlencode([(name, str(value).lower() if isinstance(value, bool) else value) for name, value in pairs])
    if not added:
        return url
    parts = urlsplit(url)
    return parts._replace(query="&".join(filter(None, [parts.query, added]))).geturl()


def _listed(values: object) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _send(call: Call, request: Request, timeout_s: float) -> Outcome:
    call.logger.info("%s", request)
    try:
        answer = exchange(request, timeout_s, Guard(call.http_networks))
    except ExchangeError as error:
        return Fail(str(error))
    call.logger.info("%s answered %d %s", answer.request, answer.status, answer.reason)
    if answer.request.method != request.method:
        call.logger.warning("%s was redirected and followed as %s, without its body", request, answer.request)
    return _outcome(answer)


def _outcome(answer: Answer) -> Outcome:
    if not 200 <= answer.status < 300:
        return Fail(f"{answer.request} answered {answer.status} {answer.reason}: {answer.text[:SHOWN]}")
    headers = {name: answer.headers[name][:SHOWN] for name in KEPT_HEADERS if name in answer.headers}
    return Finish({"status": answer.status, "body": answer.text, "headers": headers, "truncated": answer.truncated})
