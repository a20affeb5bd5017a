"""TLS to the database: on, and the server checked, wherever the connection leaves the machine.

What a URL says itself counts: `sslmode=disable` (PostgreSQL) and `ssl_disabled=true` (MariaDB, MySQL) give it up.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy.engine import URL
from sqlalchemy.util import asbool

from engine.errors import BadDatabaseURL

_PORT: Final = re.compile(r"^([^:]*):\d*$")
_SYSTEM_ROOTS: Final = 160000
"""The first release of libpq that can ask the system whom it trusts."""
_MYSQL_FILES: Final = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher")
_MYSQL_SWITCHES: Final = {"ssl_disabled": False, "ssl_check_hostname": True, "ssl_verify_cert": True}


def is_near(host: str) -> bool:
    """Does a connection to it stay on this machine? By what is written, without asking a name service: a socket's path,
    `localhost`, or an address by which a machine talks to itself. An empty one is the driver's own choice of these."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0]).is_loopback
    except ValueError:
        return False


def postgresql_tls(url: URL) -> dict[str, Any]:
    """What psycopg is told besides the URL: `verify-full` for a host elsewhere, where the URL has no sslmode."""
    if "sslmode" in url.query or all(is_near(host) for host in _postgresql_hosts(url)):
        return {}
    told = {"sslmode": "verify-full"}
    if "sslrootcert" not in url.query and _trusts_the_system():
        told["sslrootcert"] = "system"
    return told


def _postgresql_hosts(url: URL) -> Iterator[str]:
    """Where libpq will connect to; `hostaddr` counts before `host`, the URL before the variables that libpq reads."""
    import psycopg

    usual = {option.keyword.decode(): (option.val or b"").decode() for option in psycopg.pq.Conninfo.get_defaults()}
    said = {name: _joined(url.query.get(name)) for name in ("hostaddr", "host")}
    is_elsewhere = "service" in url.query  # its file says where: anywhere
    found = said["hostaddr"] or ("" if is_elsewhere else usual["hostaddr"]) or said["host"] or url.host
    if not found and is_elsewhere:
        yield "the service's"
        return
    yield from (_without_port(host) for host in (found or usual["host"]).split(","))


def _joined(given: str | tuple[str, ...] | None) -> str:
    return ",".join(given) if isinstance(given, tuple) else given or ""


def _without_port(host: str) -> str:
    found = _PORT.match(host)
    return found[1] if found else host


def _trusts_the_system() -> bool:
    """Would libpq know no authority otherwise: no variable, no file of its own?"""
    import psycopg

    own = os.path.expanduser("~/.postgresql/root.crt")
    return psycopg.pq.version() >= _SYSTEM_ROOTS and "PGSSLROOTCERT" not in os.environ and not os.path.exists(own)


def mysql_tls(url: URL) -> dict[str, Any]:
    """What PyMySQL is told besides the URL: an SSLContext, without which there is no connection, for a host elsewhere
    and wherever the URL says something about TLS. Errors: BadDatabaseURL for files and values that are no good."""
    switches = {name: _switch(url, name, usual) for name, usual in _MYSQL_SWITCHES.items()}
    if switches["ssl_disabled"]:
        return {"ssl_disabled": True}
    is_said = any(name in url.query for name in (*_MYSQL_FILES, *_MYSQL_SWITCHES) if name != "ssl_disabled")
    if not is_said and is_near(_mysql_host(url)):
        return {"ssl_disabled": False} if "ssl_disabled" in url.query else {}
    context = _context(url, switches)
    # its own words for what the context says take no text from a URL: "false" would be true
    return {"ssl": context, "ssl_disabled": False, "ssl_verify_cert": None, "ssl_verify_identity": None}


def _mysql_host(url: URL) -> str:
    if "unix_socket" in url.query:
        return ""
    return url.host or ("a file's host" if "read_default_file" in url.query else "")


def _context(url: URL, switches: dict[str, bool]) -> ssl.SSLContext:
    files = {name: str(url.query[name]) for name in _MYSQL_FILES if name in url.query}
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca"), capath=files.get("ssl_capath"))
        if "ssl_cert" in files:
            context.load_cert_chain(files["ssl_cert"], files.get("ssl_key"))
        if "ssl_cipher" in files:
            context.set_ciphers(files["ssl_cipher"])
    except (OSError, ValueError) as error:
        told = ", ".join(f"{name}={value}" for name, value in files.items())
        raise BadDatabaseURL(f"{told}: {error}") from error
    # certificates that MySQL makes for itself would not pass, even where they are trusted
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = switches["ssl_check_hostname"] and switches["ssl_verify_cert"]
    if not switches["ssl_verify_cert"]:
        context.verify_mode = ssl.CERT_NONE
    return context


def _switch(url: URL, name: str, usual: bool) -> bool:
    try:
        return asbool(url.query.get(name, usual))
    except (ValueError, AttributeError) as error:
        raise BadDatabaseURL(f"{name}={url.query[name]}: write true or false") from error


def way_out(authority: str, without: str) -> str:
    """What a person may do about a server that is not trusted."""
    return (
        ": a database on another machine must show by TLS who it is: give its server a certificate for this name, say "
        f"in the URL whose word counts (?{authority}), or give TLS up there (?{without})"
    )
