"""Secrets that programs log or raise: replaced by *** before a text is cut and stored, so that no half of one remains.

A secret is the value of an environment variable whose name says so, or the password of the database. It is also known
by its URL-encoded and base64 forms. Results are data and are stored as they are, but for the secrets that tasks were
given by reference (watcher/secrets.py).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MIN_CHARS: Final = 6
"""Shorter values would mask ordinary words."""
MASK: Final = "***"
_SECRET_NAME: Final = re.compile(r"SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY", re.I)


class Masker:
    """Replaces a fixed set of secrets in texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= MIN_CHARS for form in _forms(secret)}
        ordered = sorted(forms, key=len, reverse=True)  # a secret that contains another is masked whole
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self.longest = len(ordered[0]) if ordered else 0

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def cut(self, text: str, most: int) -> str:
        """The first `most` characters, masked: the secret that the cut would halve is masked as well."""
        return self.mask(text[: most + self.longest])[:most]


def secrets_of(environment: Mapping[str, str], *others: str | None) -> set[str]:
    """The values that must not be shown: of variables with telling names, and those given."""
    named = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    return {secret.strip() for secret in (*named, *others) if secret}


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""), quote_plus(secret), secret.encode("unicode_escape").decode())
    raw = secret.encode("utf-8", "replace")
    for offset in range(3):  # inside a longer text its base64 begins at any of three places of a group
        encoded = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        known = encoded[(offset * 8 + 5) // 6 : len(bytes(offset) + raw) * 8 // 6]
        if len(known) >= MIN_CHARS:
            yield known
            yield known.replace("+", "-").replace("/", "_")


_masker = Masker()
_known: frozenset[str] = frozenset()
_used: frozenset[str] = frozenset()
"""Secrets that tasks were given: these are masked in results, too."""


def install(secrets: Iterable[str]) -> None:
    """Mask these from now on, in this process."""
    global _masker, _known
    _known = frozenset(secrets)
    _masker = Masker(_known | _used)


def add(secrets: Iterable[str]) -> None:
    """Mask these, too, and also in results: a task was given them."""
    global _masker, _used
    new = {secret for secret in secrets if len(secret) >= MIN_CHARS} - _used
    if new:
        _used |= new
        _masker = Masker(_known | _used)


def masked_result(value: Any) -> Any:
    """A result without the secrets that tasks were given, in whatever text it has them."""
    return _masked(value) if _used else value


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {_masked(name): _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value


def mask(text: str) -> str:
    return _masker.mask(text)


def cut(text: str, most: int) -> str:
    return _masker.cut(text, most)
