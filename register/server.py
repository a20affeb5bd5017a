"""Serve the application with uvicorn, in the main thread or in another."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from register.access.exposure import refuse_exposed
from register.handshake import spoken
from register.settings import Settings

GRACE_S = 3
"""For requests under way; with the application's own shut-down after it, the whole takes at most five seconds."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a request: its line and its headers."""
KEEP_ALIVE_S = 75
"""Longer than clients and proxies keep idle connections: they close first, and no request meets a closing one."""


def serve(app: Starlette, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; then finish what is under way, and let the signal go to its earlier handler.

    Errors: OSError if the address cannot be had; Exposed.
    """
    with listen(settings) as listener:
        make_server(app, settings).run(sockets=[listener])


def make_server(app: Starlette, settings: Settings) -> uvicorn.Server:
    """A uvicorn server for `app`; it takes signals only when it runs in the main thread.

    Errors: ssl.SSLError for a certificate or a key that cannot be used.
    """
    return Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http=spoken(settings),  # type: ignore[arg-type]  # it only calls it
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            ws="none",
            proxy_headers=False,  # uvicorn would believe whoever asks from this machine: see register/access/proxies.py
            lifespan="on",
            log_config=None,  # the caller's logging is not ours to configure
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


class Server(uvicorn.Server):
    """Tells the application that it stops before it waits for the requests under way: streams would never end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, Starlette) and (service := getattr(app.state, "service", None)) is not None:
            service.close()
        await super().shutdown(sockets)


def listen(settings: Settings) -> socket.socket:
    """The socket, bound before the server starts: an address in use is an error here, and port 0 is a number now.

    Errors: OSError; Exposed for an address that others reach, if nobody had to show a token, or only in clear text.
    """
    refuse_exposed(settings)
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = found[0]
    # asyncio switches off Nagle's algorithm only where it sees that the protocol is TCP; with it, an answer of two
    # packets waits 40 ms for the client's acknowledgement of the first
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


class Background:
    """The service in a thread of its own, from `start` to `stop`; a context manager does both."""

    def __init__(self, app: Starlette, settings: Settings) -> None:
        self._server = make_server(app, settings)
        self._listener = listen(settings)
        self._scheme = "https" if settings.tls_cert else "http"
        self._thread = threading.Thread(target=self._run, name="penstock-register", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"

    def start(self, timeout_s: float = 10.0) -> None:
        """Return when requests are served. Errors: RuntimeError if that does not come to pass."""
        self._thread.start()
        deadline = time.monotonic() + timeout_s
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the register at {self.url} did not start: see the log")
            time.sleep(0.005)

    def stop(self) -> None:
        """Finish what is under way and end; at most five seconds."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(GRACE_S + 2.0)
        self._listener.close()

    def __enter__(self) -> Background:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])
