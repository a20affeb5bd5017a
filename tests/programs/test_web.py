"""The HTTP programs against a real server, friendly and otherwise."""

import gzip
import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from programs.errors import ParameterError
from programs.exchange import BODY_CAP
from programs.invoke import invoke
from programs.outcomes import Fail, Finish
from programs.web import HTTPGetRequest, HTTPPostRequest


@dataclass
class Server:
    url: str
    requests: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)
    sent: int = 0  # bytes of an endless body that found their way into a socket
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def networks(self) -> tuple[str, ...]:
        """Programs may send requests here, and nowhere else on this machine."""
        return (urlsplit(self.url).netloc,)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    record: Server

    def log_message(self, *args: Any) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.record.requests.append((self.command, self.path, body, dict(self.headers)))
        with suppress(OSError):
            getattr(self, "go_" + self.path.partition("?")[0].strip("/").split("/")[0])()
        self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def go_ok(self) -> None:
        self.answer(200, b'{"done": true}', Content_Type="application/json", ETag='"7"', Set_Cookie="secret=1")

    def go_created(self) -> None:
        self.answer(201, b"", Location="/things/1")

    def go_empty(self) -> None:
        self.send_response(204)
        self.end_headers()

    def go_missing(self) -> None:
        self.answer(404, b"no such thing " + b"x" * 5000)

    def go_unchanged(self) -> None:
        self.send_response(304)
        self.end_headers()

    def go_error(self) -> None:
        self.answer(500, b"oops")

    def go_latin(self) -> None:
        self.answer(200, "grün".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1")

    def go_nonsense(self) -> None:
        self.answer(200, "gr\xfcn".encode() + b"\xff", Content_Type="text/plain; charset=hex")

    def go_gzip(self) -> None:
        self.answer(200, gzip.compress(b"z" * 50_000_000), Content_Encoding="gzip")

    def go_loop(self) -> None:
        self.answer(302, b"", Location="/loop")

    def go_hops(self) -> None:
        left = int(self.path.rsplit("/", 1)[1])
        self.answer(307, b"", Location=f"/hops/{left - 1}" if left else "/ok")

    def go_found(self) -> None:
        self.answer(302, b"", Location="/ok")

    def go_local(self) -> None:
        self.answer(302, b"", Location="file:///etc/passwd")

    def go_silent(self) -> None:
        self.record.over.wait(20)

    def go_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.record.over.wait(0.05):
            self.wfile.write(b".")

    def go_dripchunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.record.over.wait(0.05):
            self.wfile.write(b"1\r\n.\r\n")

    def go_dripheaders(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.record.over.wait(0.05):
            self.wfile.write(b".")

    def go_huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**9))
        self.end_headers()
        self.pour()

    def go_hugeredirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/ok")
        self.send_header("Content-Length", str(10**9))
        self.end_headers()
        self.pour()

    def pour(self) -> None:
        while self.record.sent < 10**9:
            self.wfile.write(b"x" * 65536)
            self.record.sent += 65536

    def go_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")

    def go_garbage(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    record = Server("")
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"record": record}))
    http.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    record.url = f"{'https' if certificate else 'http'}://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield record
    record.over.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as record:
        yield record


@pytest.fixture
def post(make_call, server):
    return lambda path, body="{}", **params: invoke(
        HTTPPostRequest(), make_call({"URL": server.url + path, "BODY": body, **params}, http_networks=server.networks)
    )


@pytest.fixture
def get(make_call, server):
    return lambda path, **params: invoke(
        HTTPGetRequest(), make_call({"URL": server.url + path, **params}, http_networks=server.networks)
    )


@pytest.mark.parametrize("body", ['{"id": "test"}', "", "grün €\r\n", " not json ", "a=1&b=%20"])
def test_the_body_goes_out_byte_for_byte(post, server, body):
    assert isinstance(post("/ok", body), Finish)
    [(method, path, received, headers)] = server.requests
    assert (method, path, received) == ("POST", "/ok", body.encode())
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body.encode()))


def test_the_content_type_can_be_set(post, server):
    post("/ok", CONTENT_TYPE="text/plain; charset=utf-8")
    assert server.requests[0][3]["Content-Type"] == "text/plain; charset=utf-8"
    with pytest.raises(ParameterError, match="CONTENT_TYPE"):
        post("/ok", CONTENT_TYPE="text/plain\r\nX-Injected: 1")


def test_one_trailing_slash_is_stripped(post, server):
    post("/ok/")
    post("/ok//")
    assert [path for _, path, *_ in server.requests] == ["/ok", "/ok/"]


def test_a_body_that_is_no_text_is_refused(post, server):
    with pytest.raises(ParameterError, match="BODY: expected the exact text to send, as a string"):
        post("/ok", {"id": "test"})
    with pytest.raises(ParameterError, match="BODY"):
        post("/ok", "\ud800")
    assert server.requests == []


def test_the_result_holds_the_answer(post):
    assert post("/ok").result == {
        "status": 200,
        "body": '{"done": true}',
        "headers": {"Content-Type": "application/json", "ETag": '"7"'},
        "truncated": False,
    }


@pytest.mark.parametrize("path, status", [("/created", 201), ("/empty", 204)])
def test_every_2xx_is_success(post, path, status):
    assert post(path).result["status"] == status


def test_404_fails_with_status_and_the_start_of_the_body(post, server):
    outcome = post("/missing")
    assert outcome.error.startswith(f"POST {server.url}/missing answered 404 Not Found: no such thing xxx")
    assert outcome.error.endswith("no such thing " + "x" * 486)


def test_304_fails_and_is_no_redirect(get):
    assert "answered 304 Not Modified" in get("/unchanged").error


def test_500_fails(get):
    assert get("/error").error.endswith("answered 500 Internal Server Error: oops")


def test_the_text_is_decoded_as_declared_or_else_replaced(get):
    assert get("/latin").result["body"] == "grün"
    assert get("/nonsense").result["body"] == "grün\ufffd"


@pytest.mark.parametrize("path", ["/silent", "/drip", "/dripchunks", "/dripheaders"])
def test_no_server_holds_the_task_beyond_its_time(get, path):
    started = time.monotonic()
    outcome = get(path, TIMEOUT_SECOND="0.5")
    assert 0.4 < time.monotonic() - started < 3
    assert "no complete answer within 0.5 s" in outcome.error


@pytest.mark.parametrize("path", ["/drip", "/dripchunks", "/dripheaders"])
def test_nor_does_a_server_behind_tls(make_call, monkeypatch, path):
    certificate = Path(__file__).with_name("localhost.pem")
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    with serving(certificate) as server:
        allowed = {"http_networks": server.networks}
        assert isinstance(invoke(HTTPGetRequest(), make_call({"URL": server.url + "/ok"}, **allowed)), Finish)
        started = time.monotonic()
        outcome = invoke(HTTPGetRequest(), make_call({"URL": server.url + path, "TIMEOUT_SECOND": 0.5}, **allowed))
        assert 0.4 < time.monotonic() - started < 3
    assert "no complete answer within 0.5 s" in outcome.error


def test_a_certificate_nobody_vouches_for_is_refused(make_call):
    with serving(Path(__file__).with_name("localhost.pem")) as server:
        outcome = invoke(HTTPGetRequest(), make_call({"URL": server.url + "/ok"}, http_networks=server.networks))
    assert "TLS failed" in outcome.error
    assert "self-signed certificate" in outcome.error


def test_a_huge_body_is_cut_and_not_read(get, server):
    outcome = get("/huge")
    assert outcome.result["truncated"]
    assert outcome.result["body"] == "x" * BODY_CAP
    assert server.sent < 50_000_000


def test_a_compressed_huge_body_is_cut(get):
    outcome = get("/gzip")
    assert outcome.result["truncated"]
    assert outcome.result["body"] == "z" * BODY_CAP


def test_the_huge_body_of_a_redirect_is_not_read(get, server):
    assert get("/hugeredirect").result["body"] == '{"done": true}'
    assert server.sent < 50_000_000


def test_five_redirects_are_followed_and_not_a_sixth(post, server):
    assert isinstance(post("/hops/4", "text"), Finish)
    assert [body for _, _, body, _ in server.requests] == [b"text"] * 6, "307 repeats the body"
    assert "more than 5 redirects" in post("/hops/5").error


def test_a_redirect_loop_ends(get, server):
    assert get("/loop").error == f"GET {server.url}/loop: more than 5 redirects"
    assert len(server.requests) == 6


def test_a_redirected_post_loses_its_body_with_a_warning(post, server, caplog):
    caplog.set_level(logging.INFO)
    assert isinstance(post("/found"), Finish)
    assert [(method, body) for method, _, body, _ in server.requests] == [("POST", b"{}"), ("GET", b"")]
    assert [r.levelname for r in caplog.records if "without its body" in r.getMessage()] == ["WARNING"]


def test_a_redirect_out_of_http_is_refused(get):
    assert "neither http nor https" in get("/local").error


def test_a_broken_answer_fails(get):
    assert "connection failed" in get("/short").error
    assert "connection failed" in get("/garbage").error


def test_a_closed_port_fails_with_the_reason(make_call):
    params = {"URL": "http://user:hunter2@127.0.0.1:1/x?token=hunter2"}
    outcome = invoke(HTTPGetRequest(), make_call(params, http_networks=("127.0.0.1",)))
    assert outcome == Fail("GET http://127.0.0.1:1/x: connection failed: [Errno 111] Connection refused")


@pytest.mark.parametrize("url", ["ftp://h/x", "file:///etc/passwd", "h/x", "http://", "http://[::1", ""])
def test_only_http_urls_are_taken(make_call, url):
    with pytest.raises(ParameterError, match="URL"):
        invoke(HTTPGetRequest(), make_call({"URL": url}))


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "x", "1e300"])
def test_the_timeout_must_make_sense(get, bad):
    with pytest.raises(ParameterError, match="TIMEOUT_SECOND"):
        get("/ok", TIMEOUT_SECOND=bad)


def test_proxies_of_the_environment_are_not_used(get, monkeypatch):
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:1")
    monkeypatch.setitem(os.environ, "no_proxy", "")
    assert isinstance(get("/ok"), Finish)


@pytest.mark.parametrize(
    "path, query, asked",
    [
        ("/ok", {"a": 1, "b": "x y"}, "/ok?a=1&b=x+y"),
        ("/ok", '{"a": [1, 2], "b": true, "c": null}', "/ok?a=1&a=2&b=true"),
        ("/ok?z=0", {"a": "&"}, "/ok?z=0&a=%26"),
        ("/ok/", None, "/ok/"),
        ("/ok", "{}", "/ok"),
    ],
)
def test_get_appends_its_query(get, server, path, query, asked):
    assert isinstance(get(path, QUERY=query), Finish)
    assert server.requests[0][:2] == ("GET", asked)


def test_a_query_that_is_no_object_is_refused(get):
    with pytest.raises(ParameterError, match="QUERY: expected JSON"):
        get("/ok", QUERY="a=1")
