"""What the register can be told. Reading flags and environment is the caller's part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Where to listen, and where to stop being patient. Units: bytes, seconds, registrations."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes any free port."""
    max_body_bytes: int = 1024 * 1024
    request_timeout_s: float = 30.0
    db_wait_s: float = 60.0
    """How long whoever starts the service waits for the database (`engine.database.wait_until_up`)."""
    max_queued: int = 1000
    """Requests that may wait for the database; one more is told to come back."""
    group_size: int = 200
    """Registrations that share a commit, at most."""
    echo: bool = False
    """Whether POST /echo is there: a counterpart for the sample workflow, not for the open internet."""
    compat: bool = True
    """Whether the paths of Waterflow and synergy_flow are there (register/compat)."""
    waterflow_lease_s: float = 3600.0
    """How long a worker of Waterflow's own kind may be silent: it knows no heartbeats."""
    ui_origins: tuple[str, ...] = ()
    """Origins whose pages may read Waterflow's counts; `*` for all."""
