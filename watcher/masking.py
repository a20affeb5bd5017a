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
        self._begins: dict[str, list[str]] = {}
        for form in ordered:
            self._begins.setdefault(form[:MIN_CHARS], []).append(form)
        heads = "|".join(map(re.escape, self._begins))
        self._heads = re.compile(f"(?=({heads}))") if heads else None
        self._short = {form[:size] for form in ordered for size in range(1, MIN_CHARS)}

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def cut(self, text: str, most: int) -> str:
        """The first `most` characters, masked: the secret that the cut would halve is masked as well."""
        return self.mask(text[: most + self.longest])[:most]

    def split(self, text: str) -> tuple[str, str]:
        """A text that goes on: what of it can be shown, masked, and the end, raw, that may be half a secret."""
        cut = len(text) - self._begun(text)
        if self._pattern is not None and cut < len(text):
            for found in self._pattern.finditer(text):
                if found.start() < cut < found.end():  # that end is of another secret, which is whole
                    cut = found.end()
        return self.mask(text[:cut]), text[cut:]

    def _begun(self, text: str) -> int:
        """How many characters at the end are the beginning of a secret."""
        if self._heads is None:
            return 0
        for found in self._heads.finditer(text, max(0, len(text) - self.longest + 1)):
            rest = text[found.start() :]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self._begins[found[1]]):
                return len(rest)
        sizes = range(min(MIN_CHARS - 1, len(text)), 0, -1)
        return next((size for size in sizes if text[-size:] in self._short), 0)


class Pieces:
    """Masks a text that comes piece by piece, also the secrets that lie across the border of two pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._skip = 0

    def next(self, piece: str) -> str:
        """What can be shown now: what may be the beginning of a secret waits for the next piece."""
        shown, self._held = _masker.split(self._held + self._behind_the_gap(piece))
        return shown

    def last(self, piece: str) -> str:
        """As `next`, of a piece that nothing follows."""
        return mask(self._held + self._behind_the_gap(piece))

    def gap(self) -> None:
        """Some of the text is left out here: neither side of it shows its half of a secret."""
        self._held, self._skip = "", max(0, _masker.longest - 1)

    def _behind_the_gap(self, piece: str) -> str:
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        return piece[skipped:]


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
