"""Plugins as installed distributions: importing those that are allowed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata

from programs.allowed import AllowList, Verdict
from programs.installed import Installed, installed


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


@dataclass(frozen=True)
class Problem:
    """Something that stops the start; `distribution` is whose fault it is, or "" for nobody's."""

    words: str
    distribution: str = ""
    cause: BaseException | None = None


@dataclass
class Found:
    """Plugins that could be imported, what was decided about each distribution, and what is wrong."""

    plugins: list[Plugin] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    unmet: dict[str, str] = field(default_factory=dict)
    """Entries of the list that allow nothing that is installed, and what to do about each."""
    problems: list[Problem] = field(default_factory=list)


def find_plugins(wanted: Sequence[str] | None, autoload: bool) -> Found:
    """Import the plugins of the distributions that are allowed (`AllowList`). Others are not imported at all, nor are
    those that are listed with another version or hash."""
    there = installed()
    allowed = AllowList(wanted, autoload)
    found = Found(verdicts=[allowed.verdict(one) for one in there], unmet=allowed.unmet(there))
    for verdict in found.verdicts:
        if verdict.is_allowed:
            _load(verdict.found, found)
        elif verdict.problem:
            found.problems.append(Problem(verdict.problem, verdict.found.name))
    found.problems += [Problem(words) for words in found.unmet.values()]
    return found


def installed_version(distribution: str) -> str:
    """The version that is installed, or "unknown" for a bare checkout."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _load(distribution: Installed, found: Found) -> None:
    for point in distribution.points:
        plugin = Plugin(point.name, None, distribution.name, distribution.version)
        try:
            content = point.load()
        except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
            words = (
                f"{plugin.label}: importing {point.value} raised {type(error).__name__}: {error};"
                f" repair it, or remove it with `pip uninstall {distribution.name}`"
            )
            found.problems.append(Problem(words, distribution.name, error))
        else:
            found.plugins.append(Plugin(point.name, content, distribution.name, distribution.version))
