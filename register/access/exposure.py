"""Who can reach the service, and whether it may be let out: not without asking who they are, nor in clear text."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from engine.errors import PenstockError

if TYPE_CHECKING:
    from register.settings import Settings


NOBODY_ASKED: Final = (
    "nobody would be asked for a token: leave out --no-auth, or name the proxy that asks them (--behind-proxy "
    "ADDRESS), or listen on 127.0.0.1"
)
CLEAR_TEXT: Final = (
    "tokens would travel in clear text: give a certificate (--tls-cert FILE --tls-key FILE), or name the proxy in "
    "front that has one (--behind-proxy ADDRESS), or listen on 127.0.0.1. Only where nobody else is in the network "
    "between, as among containers: --clear-text"
)


class Exposed(PenstockError):
    """The service would let everybody in who can reach its address, or show tokens to who listens on the way."""

    def __init__(self, host: str, words: str) -> None:
        super().__init__(f"{host or '*'} can be reached from elsewhere, and {words}")


def is_loopback(host: str) -> bool:
    """Can an address be reached from this machine alone? A name is, if all its addresses are."""
    if is_own_address(host) or host.lower() == "localhost":
        return True
    if not host:  # all of them
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_own_address(str(address[0])) for *_, address in found)


def is_own_address(text: str) -> bool:
    """Is it an address by which a machine talks to itself?"""
    try:
        return ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_exposed(settings: Settings) -> None:
    """Errors: Exposed."""
    if settings.is_local or settings.behind_proxy:
        return
    if not settings.needs_token:
        raise Exposed(settings.host, NOBODY_ASKED)
    if settings.tls_cert is None and not settings.clear_text:
        raise Exposed(settings.host, CLEAR_TEXT)
