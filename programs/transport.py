"""How an HTTP exchange is carried out: by requests, each redirect on its own, and cut off at its deadline.

And a session of requests for the programs of others, which the same guard watches."""

from typing import Any, TypeVar

import requests
import urllib3

from programs.contract import Call
from programs.deadline import Deadline
from programs.exchange import BODY_CAP, Answer, ExchangeError, Request
from programs.guard import Guard
from programs.pinning import PinnedAdapter

MAX_REDIRECTS = 5
S = TypeVar("S", bound=requests.Session)


class _Session(requests.Session):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Any:
        return iter(())  # requests reads the whole body of every redirect here, even of those it is not to follow


def guarded_session(call: Call) -> requests.Session:
    """A session of requests for a program that is told by a row where to send something.

    It connects only to addresses of the internet and to networks that an operator has allowed (`--http-network`), by
    one lookup for each connection, redirects too, and takes no proxies and no passwords from the environment. Errors
    beside those of requests: AddressRefused; let it pass, and the task fails with words on what to do.
    """
    return _pinned(requests.Session(), PinnedAdapter(Guard(call.http_networks)))


def send(request: Request, timeout_s: float, guard: Guard) -> Answer:
    """Send, follow redirects, read. Errors: ExchangeError, by `timeout_s` at the latest (name lookup aside);
    AddressRefused."""
    with Deadline(timeout_s) as deadline, _pinned(_Session(), PinnedAdapter(guard, deadline.watch)) as session:
        try:
            answer = _follow(session, request, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ExchangeError(f"{request}: {_explain(error, deadline)}") from error
        if deadline.passed:  # an answer without a length ends when its connection is cut: it is not whole
            raise ExchangeError(f"{request}: {deadline}")
        return answer


def _pinned(session: S, adapter: PinnedAdapter) -> S:
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _follow(session: requests.Session, request: Request, deadline: Deadline) -> Answer:
    first = request
    for _ in range(MAX_REDIRECTS + 1):
        with session.request(
            request.method,
            request.url,
            data=request.body,
            headers={"Accept-Encoding": "identity", **request.headers},
            timeout=deadline.left(),
            stream=True,
            allow_redirects=False,
        ) as response:
            target = session.get_redirect_target(response)
            if target is None:
                content = _read(response.raw)
                cut = len(content) > BODY_CAP
                return Answer(
                    request,
                    response.status_code,
                    (response.reason or "")[:100],
                    response.headers,
                    content[:BODY_CAP],
                    cut,
                )
        request = request.redirected(response.status_code, target)
    raise ExchangeError(f"{first}: more than {MAX_REDIRECTS} redirects")


def _read(raw: Any) -> bytes:
    content = bytearray()
    while len(content) <= BODY_CAP:
        piece = raw.read1(BODY_CAP, decode_content=True)
        if not piece:
            break
        content += piece
    return bytes(content)


def _explain(error: BaseException, deadline: Deadline) -> str:
    if deadline.passed or isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return str(deadline)
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed: {_root(error)}"
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError | OSError):
        return f"connection failed: {_root(error)}"
    return f"{type(error).__name__}: {error}"


def _root(error: BaseException) -> BaseException:
    """The innermost cause: what the operating system said, without the wrapping that repeats the URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
