"""Which plugins are installed, what they are, and which of them are loaded or why not: for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from programs.allowed import Verdict
from programs.catalogue import Builder, assemble


@dataclass(frozen=True)
class Surveyed:
    """A distribution with entry points in our group, or an entry of the allow-list for which there is none.

    What only an import can tell (`hooks`, `programs`) is empty if it is not loaded. `sha256` is None for the reason in
    `no_hash`; `changed` are files that differ from what its RECORD says; `origin` is None for an index of packages.
    """

    name: str
    version: str | None
    loaded: bool
    why: str
    entry_points: dict[str, str]
    hooks: list[str]
    programs: list[str]
    location: str | None
    installer: str | None
    origin: str | None
    editable: bool
    sha256: str | None
    no_hash: str | None
    changed: list[str]
    pin: str | None
    problems: list[str]


def survey(plugins: Sequence[str] | None, autoload: bool) -> list[Surveyed]:
    """All of them by name; entries of the list that nothing is installed for come last. Arguments as of
    build_catalogue(); what is wrong does not raise, and is among the `problems`."""
    builder = assemble(plugins, autoload)
    there = [_present(verdict, builder) for verdict in builder.found.verdicts]
    return there + [_absent(entry, words) for entry, words in builder.found.unmet.items()]


def _present(verdict: Verdict, builder: Builder) -> Surveyed:
    found = verdict.found
    problems = [problem.words for problem in builder.problems if problem.distribution == found.name]
    is_imported = any(plugin.distribution == found.name for plugin in builder.found.plugins)
    return Surveyed(
        found.name,
        found.version,
        loaded=verdict.is_allowed and is_imported,
        why=verdict.why if is_imported or not verdict.is_allowed else "cannot be imported",
        entry_points={point.name: point.value for point in found.points},
        hooks=sorted(set(builder.hooks.get(found.name, ()))),
        programs=[name for name, entry in builder.entries.items() if entry.distribution == found.name],
        location=found.location,
        installer=found.installer,
        origin=found.origin,
        editable=found.is_editable,
        sha256=found.contents.sha256,
        no_hash=found.contents.missing or None,
        changed=list(found.contents.changed),
        pin=found.pin,
        problems=problems,
    )


def _absent(entry: str, words: str) -> Surveyed:
    return Surveyed(
        entry,
        version=None,
        loaded=False,
        why="listed, but there is no such plugin",
        entry_points={},
        hooks=[],
        programs=[],
        location=None,
        installer=None,
        origin=None,
        editable=False,
        sha256=None,
        no_hash=None,
        changed=[],
        pin=None,
        problems=[words],
    )
