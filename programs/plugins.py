"""Plugins as installed distributions: finding and importing them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata

from programs.hooks import PROJECT


@dataclass(frozen=True)
class Plugin:
    """A module or object with hooks, and the distribution it was installed with ("" when it was handed over)."""

    name: str
    content: object
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        if not self.distribution:
            return f"plugin {self.name} (not installed, handed over)"
        return f"plugin {self.name} ({self.distribution} {self.version})"


@dataclass
class Found:
    """Plugins that could be imported, and what was wrong with the others."""

    plugins: list[Plugin] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    causes: list[BaseException] = field(default_factory=list)


def find_plugins(wanted: Sequence[str] | None) -> Found:
    """Import the plugins of the distributions in `wanted`, or of all for None. Others are not imported at all."""
    found = Found()
    points = sorted(metadata.entry_points(group=PROJECT), key=lambda p: (_distribution(p)[0], p.name))
    allowed = None if wanted is None else {_normalised(name) for name in wanted}
    for point in points:
        if allowed is None or _normalised(_distribution(point)[0]) in allowed:
            _load(point, found)
    present = {_normalised(_distribution(point)[0]) for point in points}
    found.problems += [_absent(name) for name in wanted or () if _normalised(name) not in present]
    return found


def installed_version(distribution: str) -> str:
    """The version that is installed, or "unknown" for a bare checkout."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _load(point: metadata.EntryPoint, found: Found) -> None:
    distribution, version = _distribution(point)
    try:
        content = point.load()
    except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
        label = Plugin(point.name, None, distribution, version).label
        found.problems.append(
            f"{label}: importing {point.value} raised {type(error).__name__}: {error};"
            f" repair it, or remove it with `pip uninstall {distribution}`"
        )
        found.causes.append(error)
        return
    found.plugins.append(Plugin(point.name, content, distribution, version))


def _absent(name: str) -> str:
    try:
        metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return f"plugin {name} is listed but not installed: `pip install {name}`, or take it off the list of plugins"
    return f"{name} is listed as a plugin and installed, but has no entry point in the group {PROJECT!r}"


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
