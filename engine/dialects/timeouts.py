"""How long a connection waits for what, in one place; each dialect turns it into its server's own settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """Units: seconds. `statement_s`, `lock_s` and `idle_s` are kept by the server (statement; wait for a lock; rest in
    the middle of a transaction), the others by the client, which gives up only after the server should have."""

    statement_s: float = 10.0
    lock_s: float = 2.0
    idle_s: float = 15.0
    """Less than any lease: the locks of a frozen client go before its lease does."""
    connect_s: float = 5.0
    patience_s: float = 5.0
    """How much longer than a statement may take the client waits for its answer."""

    @property
    def socket_s(self) -> float:
        return self.statement_s + self.patience_s


USUAL = Timeouts()
