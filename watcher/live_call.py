"""The Call of a program that runs in the watcher's own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from engine.keys import Key
from programs.contract import Arrival, Call
from watcher import capture
from watcher.inputs import Reader
from watcher.lazy import LazyMapping, LazySequence
from watcher.slots import Slot, StopSignal


class LiveCall(Call):
    """Made for every try, of which few ask for more than their parameters: what else there is to ask for is made when
    it is asked for."""

    _read: Reader
    _slot: Slot

    @classmethod
    def of(cls, slot: Slot, read: Reader, facts: Mapping[str, Any]) -> LiveCall:
        """`facts`: of the Call, by name, but for those below."""
        made = object.__new__(cls)
        made.__dict__.update(facts, logger=capture.task_logger(), _read=read, _slot=slot)
        return made

    @cached_property
    def stop(self) -> StopSignal:
        return self._slot.stop

    @cached_property
    def results(self) -> Mapping[int, Any]:
        return LazyMapping(lambda: self._read.results(self.flow_id))

    @cached_property
    def upstream(self) -> Sequence[Any]:
        return LazySequence(lambda: self._read.upstream(self._key))

    @cached_property
    def arrivals(self) -> Sequence[Arrival]:
        return LazySequence(lambda: self._read.arrivals(self._key))

    @property
    def _key(self) -> Key:
        return self._slot.task.key
