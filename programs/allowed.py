"""The allow-list of plugins: which distributions may be imported, and of what version and content where it says so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from programs.hooks import PROJECT
from programs.installed import Installed

FORMS: Final = "NAME, NAME==VERSION, NAME@sha256:HASH or NAME==VERSION@sha256:HASH"
_ENTRY: Final = re.compile(
    r"(?P<name>[a-z0-9](?:[\w.-]*[a-z0-9])?)(?:\s*==\s*(?P<version>[^@\s=]+))?(?:\s*@\s*sha256:(?P<sha256>[0-9a-f]{64}))?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Allowed:
    """One entry of the list. What it does not say may be anything."""

    name: str
    version: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        version = f"=={self.version}" if self.version else ""
        return f"{self.name}{version}" + (f"@sha256:{self.sha256}" if self.sha256 else "")

    def is_about(self, name: str) -> bool:
        return normalised(self.name) == normalised(name)

    def fits(self, found: Installed) -> bool:
        """Looks at the files of what is installed only if the entry has a hash."""
        if self.version is not None and self.version != found.version:
            return False
        return self.sha256 is None or (self.sha256 == found.contents.sha256 and not found.elsewhere)


@dataclass(frozen=True)
class Verdict:
    """Whether a distribution may be imported, and why. `problem`: it is not what the list says, so nothing starts."""

    found: Installed
    is_allowed: bool
    why: str
    problem: str = ""


class AllowList:
    """`wanted`: the entries as they were written; None allows everything, or without `autoload` nothing."""

    def __init__(self, wanted: Sequence[str] | None, autoload: bool = True) -> None:
        if wanted is None and not autoload:
            wanted = []
        self.entries: list[Allowed] | None = None if wanted is None else []
        self._unreadable: dict[str, str] = {}
        for text in wanted or ():
            self._read(text)

    def _read(self, text: str) -> None:
        match = _ENTRY.fullmatch(text.strip())
        if match is None:
            words = f"{text!r} is no entry of a list of plugins: write {FORMS}, a hash with all its 64 digits"
            self._unreadable[text] = words
            return
        sha256 = match["sha256"]
        assert self.entries is not None
        self.entries.append(Allowed(match["name"], match["version"], sha256 and sha256.lower()))

    def names(self, found: Installed) -> bool:
        """Does any entry concern it, whatever version or hash it wants?"""
        return self.entries is None or any(entry.is_about(found.name) for entry in self.entries)

    def verdict(self, found: Installed) -> Verdict:
        """An entry is enough: a distribution that is listed twice may be either, as while hosts change from one to the
        other."""
        if self.entries is None:
            return Verdict(found, True, "no list of plugins is set")
        about = [entry for entry in self.entries if entry.is_about(found.name)]
        fitting = next((entry for entry in about if entry.fits(found)), None)
        if fitting is not None:
            return Verdict(found, True, f"listed as {fitting}")
        if about:
            return Verdict(found, False, "not what the list of plugins says", _misfit(found, about))
        return Verdict(found, False, "not on the list of plugins" if self.entries else "plugins are off")

    def unmet(self, found: Sequence[Installed]) -> dict[str, str]:
        """The entries that cannot be read, or for which nothing is installed, and what to do about each."""
        absent = {
            str(entry): _absent(entry)
            for entry in self.entries or ()
            if not any(entry.is_about(one.name) for one in found)
        }
        return self._unreadable | absent


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _misfit(found: Installed, about: Sequence[Allowed]) -> str:
    expected = " or ".join(map(str, about))
    return (
        f"plugins of {found.label} were not imported: the list of plugins says {expected}, and installed is"
        f" {found.pin}{_and_why_not(found, about)}; install what is listed, or list what is installed if that is right"
    )


def _and_why_not(found: Installed, about: Sequence[Allowed]) -> str:
    contents = found.contents
    if any(entry.sha256 for entry in about) and contents.sha256 is None:
        return f", without a hash ({contents.missing})"
    if found.elsewhere:
        return f", but Python would import {brief(found.elsewhere)}, which is not of it"
    if contents.changed:
        return f", where {brief(contents.changed)} changed since the installation"
    return ""


def brief(paths: Sequence[str]) -> str:
    """The first few."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _absent(entry: Allowed) -> str:
    try:
        metadata.distribution(entry.name)
    except (metadata.PackageNotFoundError, ValueError):
        wanted = f"{entry.name}=={entry.version}" if entry.version else entry.name
        return f"plugin {entry} is listed but not installed: `pip install {wanted}`, or take it off the list of plugins"
    return f"{entry} is listed as a plugin and installed, but has no entry point in the group {PROJECT!r}"
