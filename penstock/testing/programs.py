"""The programs of a lab: the installed ones, with those of the test before them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from engine.definition.step import Step
from penstock import services
from programs.catalogue import Catalogue, Entry, build_catalogue
from programs.contract import FunctionProgram, Program
from programs.parameters import json_schema


class Programs:
    """Grows with the test."""

    def __init__(self) -> None:
        self._own: dict[str, Program] = {}

    def add(self, work: Program | Callable[..., Any], name: str | None = None) -> str:
        """A program, its class, or a function that becomes one, in place of what is called so. Returns the name.
        Errors: TypeError for a program that is to have another name than its own."""
        if isinstance(work, type) and issubclass(work, Program):
            work = work()
        made = work if isinstance(work, Program) and name is None else FunctionProgram(_function(work), name)
        self._own[made.name] = made
        return made.name

    @property
    def catalogue(self) -> Catalogue:
        """As it is now. Errors: CatalogueError for plugins that cannot be loaded, SignatureError."""
        own = {name: Entry(one, "lab", "", "", json_schema(one), False) for name, one in self._own.items()}
        return Catalogue({**self._installed, **own}, self._installed.source)

    def check(self, step: Step) -> list[str]:
        """What a service would say of this step when it registers a flow."""
        return services.program_check(self.catalogue)(step)

    @cached_property
    def _installed(self) -> Catalogue:
        return build_catalogue()


def _function(work: Program | Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(work, FunctionProgram):
        function: Callable[..., Any] = work.function
        return function
    if isinstance(work, Program):
        raise TypeError(f"{work.name} is a program with a name of its own: give it as it is")
    return work
