"""Every installed program by name, built once at start; or every reason why that cannot be."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import pluggy

from programs import builtin, hooks
from programs.contract import Program
from programs.errors import CatalogueError, SignatureError
from programs.hookcheck import hook_problems
from programs.hooks import PROJECT, hookimpl
from programs.parameters import json_schema
from programs.plugins import Found, Plugin, Problem, find_plugins, installed_version

EXECUTORS: Final = ("thread", "async", "process")


@dataclass(frozen=True)
class Source:
    """What a catalogue was built of, so that another process can build the same: the arguments of build_catalogue()."""

    plugins: tuple[str, ...] | None = None
    autoload: bool = True
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A program and where it comes from."""

    program: Program
    plugin: str
    version: str
    distribution: str
    schema: Mapping[str, Any]  # JSON Schema of its parameters
    is_shared: bool = True  # another process that builds its catalogue of the same source has it too


class Catalogue(Mapping[str, Entry]):
    """Name -> Entry, in the order of the plugins; never changes."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        source: Source = Source(),
        secret_of: Callable[[str], str | None] = lambda reference: None,
    ) -> None:
        self._entries = dict(entries)
        self.source = source
        self.secret_of = secret_of
        """What the plugins know of a secret, by their hook penstock_secret."""

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def build_catalogue(
    *, plugins: Sequence[str] | None = None, extra: Sequence[object] = (), autoload: bool = True
) -> Catalogue:
    """The built-in programs and those of the installed plugins.

    `plugins` lists the distributions whose plugins are loaded, as programs/allowed.py reads them; None means all of
    them, or none without `autoload`. `extra` holds modules (or their names) or objects with hooks, or simply programs;
    of these, only modules are there for other processes too. Raises CatalogueError with all problems found.
    """
    builder = assemble(plugins, autoload)
    modules: list[str] = []
    for thing in extra:
        if isinstance(thing, ModuleType | str):
            modules.append(thing if isinstance(thing, str) else thing.__name__)
        builder.add(_given(thing), is_shared=isinstance(thing, ModuleType | str))
    source = Source(None if plugins is None else tuple(plugins), autoload, tuple(modules))
    return builder.finish(source)


def assemble(plugins: Sequence[str] | None, autoload: bool) -> "Builder":
    """The built-in programs and the installed ones, with whatever is wrong with them."""
    builder = Builder(find_plugins(plugins, autoload))
    builder.add(Plugin(PROJECT, builtin, PROJECT, installed_version(PROJECT)))
    for plugin in builder.found.plugins:
        builder.add(plugin)
    return builder


def rebuild(source: Source) -> Catalogue:
    """The same catalogue in another process, but for programs that were handed over as objects. Errors: as above."""
    plugins = None if source.plugins is None else list(source.plugins)
    return build_catalogue(plugins=plugins, extra=source.modules, autoload=source.autoload)


def _given(thing: object) -> Plugin:
    if isinstance(thing, str):
        return Plugin(thing, importlib.import_module(thing), "", "")
    if isinstance(thing, Program) or (isinstance(thing, type) and issubclass(thing, Program)):
        return Plugin(getattr(thing, "name", repr(thing)), _Single(thing), "", "")
    return Plugin(getattr(thing, "__name__", type(thing).__name__), thing, "", "")


class _Single:
    """A plugin of one program."""

    def __init__(self, program: object) -> None:
        self._program = program

    @hookimpl
    def penstock_programs(self) -> list[object]:
        return [self._program]


class Builder:
    """Adds plugin after plugin and keeps what is wrong, so that a person learns everything at once."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.problems = list(found.problems)
        self.entries: dict[str, Entry] = {}
        self.hooks: dict[str, list[str]] = {}
        """The names of the hooks that the plugins of each distribution have."""
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hooks)

    def add(self, plugin: Plugin, *, is_shared: bool = True) -> None:
        if self.manager.is_registered(plugin.content):
            self._problem(plugin, "was added before, under another name; remove one of its entry points")
            return
        try:
            self.manager.register(plugin.content, str(id(plugin.content)))
        except Exception as error:  # it looks at every attribute, and some may be properties that raise
            self._problem(plugin, _brief(error), error)
            return
        for problem in hook_problems(self.manager, plugin.content):
            self._problem(plugin, problem)
        for caller in self.manager.get_hookcallers(plugin.content) or ():
            self.hooks.setdefault(plugin.distribution, []).append(caller.name)
            for hook in caller.get_hookimpls():
                if caller.name == "penstock_programs" and hook.plugin is plugin.content:
                    self._take(plugin, hook, is_shared)

    def _take(self, plugin: Plugin, hook: pluggy.HookImpl, is_shared: bool) -> None:
        # Called one by one, not through pluggy's caller, to know whose answer it is and to see a None.
        try:
            answer: object = hook.function()
        except (Exception, SystemExit) as error:
            self._problem(plugin, f"its hook penstock_programs raised {_brief(error)}", error)
            return
        if not isinstance(answer, list):
            self._problem(plugin, f"its hook penstock_programs must return a list of programs, not {answer!r}")
            return
        for item in answer:
            self._enter(plugin, item, is_shared)

    def _enter(self, plugin: Plugin, item: object, is_shared: bool) -> None:
        problem = _no_program(item)
        if problem or not isinstance(item, Program):
            self._problem(plugin, str(problem))
            return
        if taken := self.entries.get(item.name):
            other = Plugin(taken.plugin, None, taken.distribution, taken.version).label
            words = (
                f"two programs are called {item.name!r}: one of {other}, one of {plugin.label};"
                " rename one, or leave one plugin out of the list of plugins"
            )
            self.problems.append(Problem(words, plugin.distribution))
            return
        try:
            schema = json_schema(item)
        except SignatureError as error:
            self._problem(plugin, f"program {item.name!r}: {error}", error)
            return
        self.entries[item.name] = Entry(item, plugin.name, plugin.version, plugin.distribution, schema, is_shared)

    def _problem(self, plugin: Plugin, words: str, cause: BaseException | None = None) -> None:
        self.problems.append(Problem(f"{plugin.label}: {words}", plugin.distribution, cause))

    def finish(self, source: Source) -> Catalogue:
        """Errors: CatalogueError."""
        if not self.problems:
            ask = self.manager.hook.penstock_secret
            return Catalogue(self.entries, source, lambda reference: ask(reference=reference))
        causes = [problem.cause for problem in self.problems if problem.cause is not None]
        cause = causes[0] if len(causes) == 1 else None
        if len(causes) > 1:
            cause = BaseExceptionGroup("several plugins failed", causes)
        raise CatalogueError([problem.words for problem in self.problems]) from cause


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _no_program(item: object) -> str | None:
    if isinstance(item, type) and issubclass(item, Program):
        return f"penstock_programs returned the class {item.__name__}; return an object of it, {item.__name__}()"
    if not isinstance(item, Program):
        return f"penstock_programs returned {item!r}, which is no program: use a Program class or @program"
    name = getattr(item, "name", None)
    if not isinstance(name, str) or not name or name != name.strip():
        return f"program {type(item).__name__} needs a `name`: text without blanks around it, not {name!r}"
    if item.executor is not None and item.executor not in EXECUTORS:
        return f"program {name!r} has the executor {item.executor!r}; there are {', '.join(EXECUTORS)}"
    if item.executor == "async" and not item.is_async:
        return f"program {name!r} has the executor 'async', which needs `async def run`"
    return None
