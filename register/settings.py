"""What the register can be told. Reading flags and environment is the caller's part."""

from __future__ import annotations

from dataclasses import dataclass

from register.access.exposure import is_loopback
from register.access.provider import Provider


@dataclass(frozen=True)
class Settings:
    """Where to listen, whom to let in, and where to stop being patient. Units: bytes, seconds, registrations."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes any free port."""
    max_body_bytes: int = 1024 * 1024
    request_timeout_s: float = 30.0
    head_timeout_s: float = 10.0
    """How long the head of a request may take to arrive, once its first byte has."""
    max_connections: int = 900
    """Open at once, with those that wait for work or follow events; 0: no limit. Below the 1,024 files that a process
    may often open."""
    max_connections_each: int = 300
    """Of those, from one address, but for those of the proxy and of this machine; 0: no limit."""
    db_wait_s: float = 60.0
    """How long whoever starts the service waits for the database (`engine.database.wait_until_up`)."""
    max_queued: int = 1000
    """Requests that may wait for the database; one more is told to come back."""
    group_size: int = 200
    """Registrations that share a commit, at most."""
    echo: bool = False
    """Whether POST /echo is there, open to everybody: a counterpart for the sample workflow."""
    auth: bool | None = None
    """Whether requests need a token; None: unless this machine alone can reach the service, without a proxy."""
    behind_proxy: tuple[str, ...] = ()
    """Names, addresses or networks of the proxy in front: what it says of a request's origin is believed."""
    origins: tuple[str, ...] = ()
    """Other origins whose pages may ask (CORS), as `https://host:port`."""
    tls_cert: str | None = None
    tls_key: str | None = None
    """Files in PEM; the key may stand in that of the certificate."""
    clear_text: bool = False
    """Whether others may reach the service without TLS or a proxy: tokens can be read on the way."""
    writes_per_s: float = 5_000.0
    """Requests that change something, for each token and each address, where tokens are needed; 0: no limit."""
    session_s: float = 12 * 3_600.0
    """How long a browser stays logged in."""
    session_idle_s: float = 3_600.0
    """How long it may ask for nothing meanwhile; 0: no limit. Exact to the minute (`engine.tokens.USED_EVERY_S`)."""
    provider: Provider | None = None
    """Who says who a person is (OpenID Connect)."""

    compat: bool = True
    """Whether the paths of Waterflow and synergy_flow are there (register/compat)."""
    waterflow_lease_s: float = 3600.0
    """How long a worker of Waterflow's own kind may be silent: it knows no heartbeats."""
    ui_origins: tuple[str, ...] = ()
    """Origins whose pages may read Waterflow's counts; `*` for all."""

    @property
    def is_local(self) -> bool:
        """Can this machine alone reach the service?"""
        return is_loopback(self.host)

    @property
    def needs_token(self) -> bool:
        return self.auth if self.auth is not None else not self.is_local or bool(self.behind_proxy)
