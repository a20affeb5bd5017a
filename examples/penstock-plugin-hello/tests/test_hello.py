import logging
import threading
from typing import Any

import pytest
from penstock_plugin_hello import count, greet, penstock_programs

from penstock import Call, Finish


def call(**fields: Any) -> Call:
    """What a watcher would hand over."""
    return Call(
        flow_id="flow",
        exec_seq=2,
        task_id="hello",
        task_seq=2,
        program="HelloCount",
        attempt=1,
        claim_id="claim",
        params={},
        flow_parameters={},
        logger=logging.getLogger("hello"),
        stop=threading.Event(),
        **{"results": {}} | fields,
    )


def test_greet_says_hello_as_often_as_asked() -> None:
    assert greet(call()) == Finish({"greeting": "Hello, world!"})
    assert greet(call(), NAME="Ada", TIMES=2) == Finish({"greeting": "Hello, Ada! Hello, Ada!"})


def test_count_reads_the_result_of_an_earlier_task() -> None:
    earlier = {1: {"greeting": "Hello, Ada!"}}
    assert count(call(results=earlier)) == {"letters": 8}
    with pytest.raises(KeyError):
        count(call(results=earlier), FROM=3)


def test_the_hook_offers_both_programs() -> None:
    assert [program.name for program in penstock_programs()] == ["HelloGreet", "HelloCount"]
