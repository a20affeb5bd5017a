"""Options of the HTTP service about who may ask."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from penstock.durations import DURATION
from penstock.failures import CannotStart
from penstock.options import ROLES, F

if TYPE_CHECKING:
    from register.access.provider import Provider

LEAST_IDLE_S: Final = 120.0
_OPTIONS = (
    click.option(
        "--auth/--no-auth",
        "auth",
        envvar="PENSTOCK_AUTH",
        default=None,
        help="Ask for tokens. [default: on, unless --host can be reached from this machine alone, without a proxy]",
    ),
    click.option(
        "--behind-proxy",
        envvar="PENSTOCK_BEHIND_PROXY",
        metavar="ADDRESS",
        help="Name, address or network of the proxy in front (several with commas): what it alone says in"
        " X-Forwarded-For and X-Forwarded-Proto is believed.",
    ),
    click.option(
        "--allow-origin",
        envvar="PENSTOCK_ALLOW_ORIGIN",
        metavar="ORIGIN",
        multiple=True,
        help="Another origin whose pages may ask (CORS), as https://host:port; may be repeated. [default: none]",
    ),
    click.option("--tls-cert", envvar="PENSTOCK_TLS_CERT", metavar="FILE", help="Certificate in PEM: serve HTTPS."),
    click.option("--tls-key", envvar="PENSTOCK_TLS_KEY", metavar="FILE", help="Its key, unless that stands in it."),
    click.option(
        "--clear-text",
        envvar="PENSTOCK_CLEAR_TEXT",
        is_flag=True,
        help="Listen for others without TLS or a proxy: whoever is in the network between can read their tokens.",
    ),
    click.option(
        "--rate-limit",
        envvar="PENSTOCK_RATE_LIMIT",
        type=click.FloatRange(min=0),
        help="Changes a second that one token or address may ask for, where tokens are needed; 0: any. [default: 5000]",
    ),
    click.option(
        "--session-time",
        envvar="PENSTOCK_SESSION_TIME",
        type=DURATION,
        metavar="TIME",
        help="How long a browser stays logged in. [default: 12h]",
    ),
    click.option(
        "--session-idle",
        envvar="PENSTOCK_SESSION_IDLE",
        type=DURATION,
        metavar="TIME",
        help="How long it may ask for nothing meanwhile: 2m or more, 0 for ever. [default: 1h]",
    ),
    click.option(
        "--max-connections",
        envvar="PENSTOCK_MAX_CONNECTIONS",
        type=click.IntRange(min=0),
        help="Connections that may be open at once; 0: any number. [default: 900]",
    ),
    click.option(
        "--max-connections-each",
        envvar="PENSTOCK_MAX_CONNECTIONS_EACH",
        type=click.IntRange(min=0),
        help="Of these, from one address that is not the proxy's or this machine's; 0: any number. [default: 300]",
    ),
    click.option("--oidc-issuer", envvar="PENSTOCK_OIDC_ISSUER", metavar="URL", help="People log in there (OpenID)."),
    click.option("--oidc-client", envvar="PENSTOCK_OIDC_CLIENT", metavar="ID", help="By which it knows this service."),
    click.option(
        "--oidc-secret-file",
        envvar="PENSTOCK_OIDC_SECRET_FILE",
        metavar="FILE",
        help="The secret that it gave this service; or the variable PENSTOCK_OIDC_SECRET.",
    ),
    click.option(
        "--oidc-redirect",
        envvar="PENSTOCK_OIDC_REDIRECT",
        metavar="URL",
        help="Where it sends people back: https://.../api/v1/session/oidc/callback",
    ),
    click.option(
        "--oidc-claim",
        envvar="PENSTOCK_OIDC_CLAIM",
        metavar="NAME",
        help="The claim that is a person's name here. [default: email]",
    ),
    click.option(
        "--oidc-default-role",
        envvar="PENSTOCK_OIDC_DEFAULT_ROLE",
        type=click.Choice(ROLES),
        help="Of people whom ms_principal does not have. [default: they are refused]",
    ),
    click.option("--oidc-secret", envvar="PENSTOCK_OIDC_SECRET", hidden=True),
)


def access_options(function: F) -> F:
    """Handed on together, as `access`: what `Settings` of the register takes."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _NAMES}
        return function(*args, access=_settings(given), **options)

    command: Any = wrapped
    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[no-any-return]


_NAMES = (
    "auth",
    "behind_proxy",
    "allow_origin",
    "tls_cert",
    "tls_key",
    "clear_text",
    "rate_limit",
    "session_time",
    "session_idle",
    "max_connections",
    "max_connections_each",
    "oidc_issuer",
    "oidc_client",
    "oidc_secret_file",
    "oidc_redirect",
    "oidc_claim",
    "oidc_default_role",
    "oidc_secret",
)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Errors: CannotStart."""
    for name in ("tls_cert", "tls_key"):
        if given[name] and not Path(given[name]).is_file():
            raise CannotStart(f"--{name.replace('_', '-')}: {given[name]} is no file")
    if given["tls_key"] and not given["tls_cert"]:
        raise CannotStart("--tls-key goes with --tls-cert")
    if given["session_idle"] and given["session_idle"] < LEAST_IDLE_S:
        raise CannotStart("--session-idle: use is noted once a minute; give 2m or more, or 0 for no limit")
    proxies = [name.strip() for name in (given["behind_proxy"] or "").split(",") if name.strip()]
    found = {
        "auth": given["auth"],
        "behind_proxy": tuple(proxies),
        "origins": tuple(origin.rstrip("/") for origin in given["allow_origin"]),
        "tls_cert": given["tls_cert"],
        "tls_key": given["tls_key"],
        "clear_text": given["clear_text"],
        "writes_per_s": given["rate_limit"],
        "session_s": given["session_time"],
        "session_idle_s": given["session_idle"],
        "max_connections": given["max_connections"],
        "max_connections_each": given["max_connections_each"],
        "provider": _provider(given),
    }
    return {name: value for name, value in found.items() if value is not None}


def _provider(given: dict[str, Any]) -> Provider | None:
    if not given["oidc_issuer"]:
        return None
    from engine.access import Role
    from engine.errors import BadRequest
    from register.access.provider import Provider

    missing = [name for name in ("oidc_client", "oidc_redirect") if not given[name]]
    if missing:
        raise CannotStart(f"--oidc-issuer takes --{missing[0].replace('_', '-')} as well")
    role = given["oidc_default_role"]
    try:
        return Provider(
            given["oidc_issuer"],
            given["oidc_client"],
            _secret(given),
            given["oidc_redirect"],
            given["oidc_claim"] or "email",
            None if role is None else Role(role),
        )
    except BadRequest as error:
        raise CannotStart(str(error)) from error


def _secret(given: dict[str, Any]) -> str:
    if not given["oidc_secret_file"]:
        return given["oidc_secret"] or ""
    try:
        return Path(given["oidc_secret_file"]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"--oidc-secret-file: {error}") from error
