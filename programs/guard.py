"""Where programs may send requests: each name is looked up once, and each address is checked before it is used."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from programs.addresses import Address, as_allowed, class_of, parse_allowed
from programs.errors import AddressRefused

Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]
"""As socket.getaddrinfo: the address is the first part of the last part of each entry."""
FLAG: Final = "--http-network"


class Guard:
    """Lets through what is on the internet, and the networks that an operator has named (`addresses.parse_allowed`).

    Definitions and parameters have no say in it: whoever may write rows could name any host, and the watcher stands
    where more can be reached than from outside.
    """

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve | None = None) -> None:
        """Errors: ValueError for what is no network."""
        self._allowed = [parse_allowed(text) for text in allowed]
        self._resolve = resolve or _resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """Where `host` may be reached: connect to these, and look nothing up again. One address that may not be reached
        spoils them all: who answers with both wants us to try both.

        Errors: AddressRefused; OSError and UnicodeError of the lookup.
        """
        found = list(dict.fromkeys(str(entry[-1][0]) for entry in self._resolve(host, port)))
        refused = [one for one in map(ip_address, found) if self._refuses(one, port)]
        if refused:
            raise AddressRefused(
                host,
                [(str(one), class_of(one) or "") for one in refused],
                " ".join(f"{FLAG} {as_allowed(one, port)}" for one in refused),
            )
        return found

    def _refuses(self, address: Address, port: int) -> bool:
        return class_of(address) is not None and not any(one.has(address, port) for one in self._allowed)


def _resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
