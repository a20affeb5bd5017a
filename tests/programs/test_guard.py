"""Requests go to the internet and to networks that an operator has named, however a row spells the address."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests

from penstock import guarded_session, program
from programs.addresses import class_of, parse_allowed
from programs.contract import Program
from programs.errors import AddressRefused, ParameterError
from programs.exchange import ExchangeError, Request, exchange
from programs.guard import Guard
from programs.invoke import invoke, invoke_async
from programs.outcomes import Fail, Finish
from programs.sensors import WaitForHTTP
from programs.web import HTTPGetRequest, HTTPPostRequest

EVERYTHING = ("0.0.0.0/0", "::/0")
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1", "::1"],
    "loopback.test": ["127.0.0.1"],
    "both.test": ["93.184.216.34", "127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "mapped.test": ["::ffff:127.0.0.1"],
}
"""Names of the spellings; all others that are no numbers are known to nobody."""


class Server:
    """Hears every request to this machine at its port. `/to?URL` leads to that URL."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.heard.append((self.path, self.headers["Host"]))
                path, _, target = self.path.partition("?")
                self.send_response(307 if path == "/to" else 200)
                if path == "/to":
                    self.send_header("Location", unquote(target, "latin-1"))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_: Any) -> None: ...

        class DualStack(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
            daemon_threads = True

            def server_bind(self) -> None:
                if self.address_family is socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                self.socket.bind(self.server_address)
                self.server_port = self.socket.getsockname()[1]

        self.http = DualStack(("", 0), Handler)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """One that programs may reach, and one that they may not."""
    made = Server(), Server()
    yield made
    for server in made:
        server.close()


@pytest.fixture
def friend(servers: tuple[Server, Server]) -> Server:
    servers[0].heard.clear()
    return servers[0]


@pytest.fixture
def inner(servers: tuple[Server, Server]) -> Server:
    servers[1].heard.clear()
    return servers[1]


class Lookups:
    """A resolver that keeps what it was asked, and asks no name server."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        known = [self._answers.pop(0)] if self._answers else [NAMES[host]] if host in NAMES else []
        if known:
            return [("", "", "", "", (address, port)) for address in known[0]]
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)


def spellings() -> list[tuple[str, str, bool]]:
    """URL, what becomes of it, whether it is one of the server's."""
    lines = (Path(__file__).with_name("spellings.txt")).read_text().splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(url, fate.removesuffix(" !"), fate.endswith(" !")) for url, fate in pairs]


def fate(url: str, *allowed: str, hops: int = 0) -> str:
    """What becomes of a request, in the words of spellings.txt. `hops`: lookups on the way there."""
    lookups = Lookups()
    try:
        exchange(Request("GET", url, None, {}), 5, Guard(allowed, lookups))
    except AddressRefused as error:
        return error.addresses[0][1]
    except (ExchangeError, ValueError):
        asked = lookups.asked[hops:]
        return f"name {asked[0]}" if asked else "invalid"
    return "answered"


def test_no_spelling_reaches_an_internal_address(inner: Server) -> None:
    assert len(spellings()) >= 100
    found = {url: fate(url.format(port=inner.port)) for url, *_ in spellings()}
    assert found == {url: expected for url, expected, _ in spellings()}
    assert inner.heard == []


def test_no_spelling_does_so_by_a_redirect(friend: Server, inner: Server) -> None:
    wrong = {}
    for url, expected, _ in spellings():
        target = url.format(port=inner.port).encode().decode("latin-1")
        escaped = "".join(f"%{ord(letter):02x}" for letter in target)
        first = f"127.0.0.1:{friend.port}"
        found = fate(f"http://{first}/to?{escaped}", first, hops=1)
        if found != expected and expected != "invalid":  # not a URL: it may well be a path
            wrong[url] = found
    assert wrong == {}
    assert inner.heard == []


def test_the_spellings_would_get_there(inner: Server) -> None:
    """Else it would prove nothing that they do not."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    missed = [
        url
        for url, _, is_ours in spellings()
        if is_ours and fate(url.format(port=inner.port), *EVERYTHING) != "answered"
    ]
    assert missed == []


@pytest.mark.parametrize("kind", [HTTPGetRequest, HTTPPostRequest, WaitForHTTP])
def test_a_program_fails_for_good_and_says_what_to_do(make_call: Any, inner: Server, kind: type[Program]) -> None:
    given = {"URL": f"http://127.0.0.1:{inner.port}/", "BODY": ""}
    if kind is not HTTPPostRequest:
        del given["BODY"]
    outcome = invoke(kind(), make_call(given))
    assert outcome == Fail(
        "no request was sent: 127.0.0.1 (loopback) is closed to programs, as all internal addresses are; whoever runs"
        f" them opens it with --http-network 127.0.0.1:{inner.port}",
        retry=False,
    )
    assert inner.heard == []
    assert isinstance(invoke(kind(), make_call(given, http_networks=(f"127.0.0.1:{inner.port}",))), Finish)


def test_parameters_cannot_allow_anything(make_call: Any, inner: Server) -> None:
    given = {"URL": f"http://127.0.0.1:{inner.port}/", "http_networks": ["0.0.0.0/0"]}
    with pytest.raises(ParameterError, match="unknown parameter"):
        invoke(HTTPGetRequest(), make_call(given))
    call = make_call({"URL": given["URL"]}, flow_parameters={"http_networks": ["0.0.0.0/0"]})
    assert isinstance(invoke(HTTPGetRequest(), call), Fail)
    assert inner.heard == []


def test_a_name_is_looked_up_once_and_keeps_its_name(inner: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers a second question otherwise is not asked a second time."""
    lookups = Lookups(["127.0.0.2"], ["127.0.0.1"])
    asked = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **kw: asked.append(host) or real(host, *more, **kw))
    url = f"http://rebinding.test:{inner.port}/once"
    exchange(Request("GET", url, None, {}), 5, Guard(["127.0.0.2"], lookups))
    assert (lookups.asked, asked) == (["rebinding.test"], ["127.0.0.2"]), "only the address is left to the system"
    assert inner.heard == [("/once", f"rebinding.test:{inner.port}")]


def test_a_name_that_changes_its_mind_behind_a_redirect_is_refused(friend: Server, inner: Server) -> None:
    lookups = Lookups(["127.0.0.2"], ["127.0.0.1"])
    url = f"http://rebinding.test:{friend.port}/to?http://rebinding.test:{inner.port}/"
    with pytest.raises(AddressRefused, match=r"'rebinding.test' leads to 127.0.0.1 \(loopback\)"):
        exchange(Request("GET", url, None, {}), 5, Guard(["127.0.0.2"], lookups))
    assert (len(friend.heard), inner.heard) == (1, [])


def test_a_public_answer_first_does_not_open_the_door(inner: Server) -> None:
    """Neither in one answer, nor in the next."""
    guard = Guard([], Lookups(["93.184.216.34", "10.0.0.1", "::1"], ["93.184.216.34"], ["::ffff:10.0.0.1"]))
    with pytest.raises(AddressRefused) as refusal:
        guard.addresses("two.test", 80)
    assert refusal.value.addresses == [("10.0.0.1", "private"), ("::1", "loopback")]
    assert str(refusal.value).endswith("--http-network 10.0.0.1:80 --http-network [::1]:80")
    assert guard.addresses("two.test", 80) == ["93.184.216.34"]
    with pytest.raises(AddressRefused, match="leads to"):
        guard.addresses("two.test", 80)


def test_an_address_that_does_not_answer_leaves_the_next_one(inner: Server) -> None:
    lookups = Lookups(["127.0.0.3", "127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://two.test:{taken.getsockname()[1]}/"
        threading.Thread(target=hang_up, args=(taken,), daemon=True).start()
        with pytest.raises(ExchangeError, match="connection failed: Remote end closed"):
            exchange(Request("GET", url, None, {}), 5, Guard(EVERYTHING, lookups))


def hang_up(listener: socket.socket) -> None:
    """Hear one request, and answer nothing."""
    made, _ = listener.accept()
    with made:
        made.recv(65_536)


def test_the_session_for_other_programs_is_guarded(
    make_call: Any, friend: Server, inner: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{inner.port}")
    own = f"127.0.0.1:{friend.port}"
    with guarded_session(make_call(http_networks=[own])) as session:
        assert session.get(f"http://{own}/").status_code == 200
        for url in (f"http://localhost:{inner.port}/", f"http://{own}/to?http://127.0.0.1:{inner.port}/"):
            with pytest.raises(AddressRefused):
                session.get(url)
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get(f"http://{own}/to?file:///etc/passwd")
    assert inner.heard == []


def test_a_refusal_inside_an_async_program_is_final_too(make_call: Any) -> None:
    @program
    async def ask() -> None:
        Guard().addresses("127.0.0.1", 80)

    for outcome in (invoke(ask, make_call()), asyncio.run(invoke_async(ask, make_call()))):
        assert isinstance(outcome, Fail)
        assert (outcome.retry, "closed to programs" in outcome.error) == (False, True)


@pytest.mark.parametrize(
    "text, within, beyond",
    [
        ("127.0.0.1", ("127.0.0.1", 1), ("127.0.0.2", 1)),
        ("10.0.0.0/8", ("::ffff:10.9.9.9", 443), ("11.0.0.1", 443)),
        ("10.0.0.0/8:443", ("10.0.0.1", 443), ("10.0.0.1", 80)),
        ("fd00::/8", ("fd12::1", 80), ("fe80::1", 80)),
        ("[::1]:8000", ("::1", 8000), ("::1", 8001)),
        ("[fd00::]/8:443", ("fd00::7", 443), ("fd00::7", 80)),
    ],
)
def test_what_an_operator_may_write(text: str, within: tuple[str, int], beyond: tuple[str, int]) -> None:
    allowed = parse_allowed(text)
    assert allowed.has(ip_address(within[0]), within[1])
    assert not allowed.has(ip_address(beyond[0]), beyond[1])


@pytest.mark.parametrize(
    "text", ["", "*", "localhost", "10.0.0.1/8", "127.0.0.1:0", "127.0.0.1:65536", "[::1]", "1:2:3"]
)
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no network") as error:
        parse_allowed(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1"])
def test_the_internet_is_open(text: str) -> None:
    assert class_of(ip_address(text)) is None
    assert Guard([], Lookups([text])).addresses("open.test", 80) == [text]


def test_hosts_are_written_as_urls_write_them() -> None:
    """`penstock up` allows its own address by this."""
    assert [parse_allowed(urlsplit(url).netloc).port for url in ("http://127.0.0.1:8000", "https://[::1]:9")] == [
        8000,
        9,
    ]
