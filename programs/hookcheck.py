"""Hooks that would silently never be called: misspelt ones, and ones without the marker."""

import difflib
import inspect
from collections.abc import Iterator

import pluggy

from programs import hooks
from programs.hooks import PROJECT

KNOWN = [name for name in dir(hooks) if name.startswith(f"{PROJECT}_")]


def hook_problems(manager: pluggy.PluginManager, plugin: object) -> list[str]:
    """What is wrong with the hooks of one registered plugin. All of it: pluggy's check_pending stops at the first."""
    callers = manager.get_hookcallers(plugin) or []
    problems = [_misspelt(c.name) for c in callers if not c.has_spec() and not _optional(c, plugin)]
    problems += [_unmarked(name) for name in _unmarked_names(manager, plugin)]
    if not callers and not problems:
        problems.append(f"implements no hook: write `@hookimpl def {KNOWN[0]}()`, or check where its entry point leads")
    return problems


def _unmarked_names(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    for name in dir(plugin):
        routine = name.startswith(f"{PROJECT}_") and inspect.isroutine(getattr(plugin, name))
        if routine and manager.parse_hookimpl_opts(plugin, name) is None:
            yield name


def _optional(caller: pluggy.HookCaller, plugin: object) -> bool:
    return all(hook.optionalhook for hook in caller.get_hookimpls() if hook.plugin is plugin)


def _misspelt(name: str) -> str:
    return f"there is no hook {name}{_hint(name)}"


def _unmarked(name: str) -> str:
    if name in KNOWN:
        return f"{name} is not marked: put `@hookimpl` above it"
    return f"{name} looks like a hook but is not marked, and there is no hook of that name{_hint(name)}"


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1)
    return f", did you mean {close[0]}?" if close else f"; there are: {', '.join(KNOWN)}"
