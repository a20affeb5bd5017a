"""Whether a step fits the installed programs, asked before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from programs.catalogue import build_catalogue
from programs.contract import Call, program
from programs.fitting import executor_misfits, misfits


@program("load.orders")
def load(call: Call, day: str, count: int = 1, sizes: list[int] | None = None) -> None: ...


@program
def login(password: SecretStr) -> None: ...


CATALOGUE = build_catalogue(extra=[load, login], autoload=False)
FITTING: list[tuple[dict[str, Any], list[str]]] = [
    ({"day": "2026-11-21", "count": "3", "sizes": "[1, 2]"}, []),
    ({}, []),  # what is missing may come with the registration
    ({"day": "x", "count": "{{ params.n }}"}, ["count"]),
    ({"day": "x"}, ["count", "sizes"]),
]


@pytest.mark.parametrize("parameters, later", FITTING)
def test_what_fits(parameters: dict[str, Any], later: list[str]) -> None:
    assert misfits(CATALOGUE, "load.orders", parameters, later) == []


MISFITS: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"dya": "x"}, [], ["program load.orders: parameter dya: unknown parameter, did you mean day?"]),
    ({}, ["dya"], ["program load.orders: parameter dya: unknown parameter, did you mean day?"]),
    ({"count": "many"}, [], ["parameter count: ", "'many'"]),
    ({"sizes": "[1, true, x]"}, [], ["parameter sizes: "]),
    ({"count": "many", "sizes": "{{ x }}"}, ["sizes"], ["parameter count: "]),
]


@pytest.mark.parametrize("parameters, later, words", MISFITS)
def test_what_does_not_fit(parameters: dict[str, Any], later: list[str], words: list[str]) -> None:
    [problem] = misfits(CATALOGUE, "load.orders", parameters, later)
    assert all(part in problem for part in words)


def test_every_problem_is_told() -> None:
    assert len(misfits(CATALOGUE, "load.orders", {"dya": 1, "count": "many"}, ["szies"])) == 3


def test_an_unknown_program_is_told_its_nearest() -> None:
    [problem] = misfits(CATALOGUE, "Load.Order", {})
    assert "no program is called 'Load.Order', did you mean 'load.orders'?" in problem
    assert "--no-check-programs" in problem
    [problem] = misfits(CATALOGUE, "zzz", {"any": "thing"})
    assert "no program is called 'zzz'; install its plugin" in problem


def test_a_secret_is_not_repeated() -> None:
    [problem] = misfits(CATALOGUE, "login", {"password": ["geheim"]})
    assert "geheim" not in problem


@pytest.mark.parametrize(
    "executor, is_exclusive, words",
    [
        (None, False, None),
        ("process", True, None),
        ("async", False, "is no `async def`"),
        (None, True, "program Noop runs in thread"),
        ("thread", True, "an exclusive task needs the executor process"),
    ],
)
def test_a_step_may_ask_only_for_where_its_program_can_run(
    executor: str | None, is_exclusive: bool, words: str | None
) -> None:
    found = executor_misfits(build_catalogue(autoload=False), "Noop", executor, is_exclusive)
    assert (found == []) if words is None else (words in found[0])
