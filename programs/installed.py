"""Distributions that bring plugins, as they are installed. Nothing of them is imported here."""

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from programs.contents import Contents, contents_of
from programs.hooks import PROJECT


@dataclass(frozen=True)
class Installed:
    """One distribution with entry points in our group."""

    name: str
    version: str
    points: tuple[metadata.EntryPoint, ...]
    source: metadata.Distribution

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def location(self) -> str:
        """The folder that it is installed in."""
        return str(self.source.locate_file(""))

    @property
    def installer(self) -> str | None:
        return (self.source.read_text("INSTALLER") or "").strip() or None

    @property
    def origin(self) -> str | None:
        """Where it was installed from; None: an index of packages."""
        url, commit = self._direct_url.get("url"), self._part("vcs_info").get("commit_id")
        return f"{url}@{commit}" if url and commit else url

    @property
    def is_editable(self) -> bool:
        return self._part("dir_info").get("editable") is True

    @cached_property
    def contents(self) -> Contents:
        """Its files, read when this is asked for the first time."""
        return contents_of(self.source, is_editable=self.is_editable)

    @property
    def pin(self) -> str:
        """The entry of an allow-list that fits this and nothing else; without a hash where there is none."""
        sha256 = self.contents.sha256
        return f"{self.name}=={self.version}" + (f"@sha256:{sha256}" if sha256 else "")

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Files that an import of its entry points would take and that are not where it is installed, as another folder
        comes first on the path that Python searches."""
        here = Path(
            self.location
        ).resolve()  # only folders are resolved: installers may link files to a store of theirs
        found = (_place_of(point.module.partition(".")[0]) for point in self.points)
        return tuple(place for place in found if place and not Path(place).parent.resolve().is_relative_to(here))

    def _part(self, name: str) -> dict[str, Any]:
        part = self._direct_url.get(name)
        return part if isinstance(part, dict) else {}

    @cached_property
    def _direct_url(self) -> dict[str, Any]:
        try:
            found = json.loads(self.source.read_text("direct_url.json") or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _place_of(module: str) -> str | None:
    """Where a top-level module would be imported from; None for one that is not there, or has no place of its own."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def installed() -> list[Installed]:
    """Those that are there, by name; each with its entry points by name."""
    grouped: dict[str, list[metadata.EntryPoint]] = {}
    for point in sorted(metadata.entry_points(group=PROJECT), key=lambda point: point.name):
        if point.dist is not None:
            grouped.setdefault(point.dist.name, []).append(point)
    return [_of(points) for _, points in sorted(grouped.items())]


def pins_of(distributions: Iterable[Installed]) -> str:
    """The value of PENSTOCK_PLUGINS that allows these as they are, and no others."""
    return ",".join(distribution.pin for distribution in distributions)


def _of(points: list[metadata.EntryPoint]) -> Installed:
    source = points[0].dist
    assert source is not None
    return Installed(source.name, source.version, tuple(points), source)
