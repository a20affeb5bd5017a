"""Which addresses are not of the internet at large: a table of networks, and IPv4 that is hidden in IPv6."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
_TABLE: Final = (
    # where clouds tell any process on a host its credentials; Azure's is an address like any other
    ("169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32 "
     "fd00:ec2::/32 fd20:ce::254/128", "metadata of a cloud"),
    ("127.0.0.0/8 ::1/128", "loopback"),
    ("0.0.0.0/8 ::/128", "unspecified"),
    ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 64:ff9b:1::/48", "private"),
    ("fc00::/7", "unique local"),
    ("169.254.0.0/16 fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("100.64.0.0/10", "shared by a provider"),
    ("224.0.0.0/4 ff00::/8", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20", "documentation"),
    ("192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23", "reserved"),
)  # fmt: skip
_CLASSES: Final = tuple((ip_network(text), name) for texts, name in _TABLE for text in texts.split())
"""The special-purpose registries of IANA. Not `ipaddress.is_private` and its like: what they say differs by the version
of Python."""
_PUBLIC6: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")
_6TO4: Final = ip_network("2002::/16")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\](/\d+)?|([^:\[\]]+)):(\d{1,5})")


def class_of(address: Address) -> str | None:
    """What kind of internal address this is, as `loopback`; None for one of the internet."""
    address = plain(address)
    for network, name in _CLASSES:
        if address in network:
            return name
    if isinstance(address, IPv4Address):
        return None
    for hidden in _hidden_in(address):
        if behind := class_of(hidden):
            return behind
    return None if address in _PUBLIC6 or address in _NAT64 else "reserved"


def plain(address: Address) -> Address:
    """The IPv4 address to which a mapped one (::ffff:127.0.0.1) leads; any other as it is, without its zone."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _hidden_in(address: IPv6Address) -> Iterator[IPv4Address]:
    """Where gateways would send it on to: NAT64, ISATAP, 6to4; it may hide two."""
    bits = int(address)
    if address in _NAT64 or (bits >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _6TO4:
        yield IPv4Address((bits >> 80) & 0xFFFFFFFF)


@dataclass(frozen=True)
class Allowed:
    """A network that an operator lets programs send requests to; `port` None: at every port."""

    network: IPv4Network | IPv6Network
    port: int | None

    def has(self, address: Address, port: int) -> bool:
        return plain(address) in self.network and self.port in (None, port)


def parse_allowed(text: str) -> Allowed:
    """`10.0.0.0/8`, `127.0.0.1`, `fd00::/8`, with a port `10.0.0.0/8:443`, `[::1]:8000`. Errors: ValueError."""
    network, port = text, None
    if found := _WITH_PORT.fullmatch(text):
        network, port = (found[1] or found[3]) + (found[2] or ""), int(found[4])
    try:
        if port is not None and not 1 <= port <= 65535:
            raise ValueError(f"there is no port {port}")
        return Allowed(ip_network(network), port)
    except ValueError as error:
        ways = "write an address or a network, as 127.0.0.1, 10.0.0.0/8 or fd00::/8, with a port 10.0.0.0/8:443"
        raise ValueError(f"{text!r} is no network ({error}): {ways} or [::1]:8000") from None


def as_allowed(address: Address, port: int) -> str:
    """How an operator would write this address and port alone."""
    address = plain(address)
    return f"{address}:{port}" if isinstance(address, IPv4Address) else f"[{address}]:{port}"
