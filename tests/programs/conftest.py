"""Calls to run programs with, outside any watcher."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from programs.contract import Call

MakeCall = Callable[..., Call]


@pytest.fixture
def make_call() -> MakeCall:
    """A call with the given raw parameters; other fields by name."""

    def make(params: Mapping[str, Any] | None = None, **fields: Any) -> Call:
        values: dict[str, Any] = {
            "flow_id": "flow-1",
            "exec_seq": 1,
            "task_id": "example",
            "task_seq": 1,
            "program": "x",
            "attempt": 1,
            "claim_id": "claim-1",
            "params": params or {},
            "flow_parameters": {},
            "results": {},
            "upstream": [],
            "arrivals": [],
            "logger": logging.getLogger("penstock.test"),
            "stop": threading.Event(),
        }
        return Call(**values | fields)

    return make
