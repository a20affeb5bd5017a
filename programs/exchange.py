"""One HTTP exchange that ends in time, with an answer of bounded size, whatever the server does."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urljoin, urlsplit

from programs.guard import Guard

BODY_CAP = 64 * 1024  # bytes


class ExchangeError(Exception):
    """There was no answer; the message says why, without the query or the password of the URL."""


@dataclass(frozen=True)
class Request:
    """What to send. The body goes out byte for byte."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{self.method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def redirected(self, status: int, target: str) -> "Request":
        """As browsers and Flower do: 307 and 308 repeat the request, the others turn a POST into a GET."""
        url = urljoin(self.url, target)  # raises ValueError for one that no URL can be made of
        if urlsplit(url).scheme not in ("http", "https"):
            raise ExchangeError(f"{self}: redirected to {urlsplit(url).scheme}:, which is neither http nor https")
        if status in (307, 308) or self.method == "GET":
            return Request(self.method, url, self.body, self.headers)
        return Request("GET", url, None, {})


@dataclass(frozen=True)
class Answer:
    """A complete answer, or the first BODY_CAP bytes of one."""

    request: Request  # the last one, after redirects
    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes
    truncated: bool

    @property
    def text(self) -> str:
        """The body as text by its declared character set; what cannot be decoded is replaced."""
        declared = Message()
        declared["Content-Type"] = self.headers.get("Content-Type", "")
        try:
            return self.content.decode(declared.get_content_charset("utf-8"), errors="replace")
        except (LookupError, UnicodeError):  # an unknown character set
            return self.content.decode(errors="replace")


def exchange(request: Request, timeout_s: float, guard: Guard) -> Answer:
    """Send, follow redirects, read. Errors: ExchangeError, by `timeout_s` at the latest (name lookup aside);
    AddressRefused, of the request or of a redirect."""
    from programs.transport import send  # only now: requests would be a quarter of the start of every child process

    return send(request, timeout_s, guard)
