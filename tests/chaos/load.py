"""The load client: registrations at a fixed rate, each with a key that is asked until it is answered.

Open loop: the next flow is due when it is due, and a request that goes out late counts as late.
"""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time
from dataclasses import dataclass, field

import requests

from tests.chaos import shapes
from tests.chaos.options import Options
from tests.chaos.records import Journal, Request, now
from tests.chaos.shapes import Shape

SENDERS = 12
TIMEOUT_S = 5.0
PAUSE_S = 0.2


@dataclass(frozen=True)
class Wish:
    """A flow that somebody wants, due at a time."""

    number: int
    shape: Shape
    key: str
    due: float


@dataclass
class Asked:
    """Everything that was sent, and what it was answered."""

    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, request: Request) -> None:
        with self.lock:
            self.requests.append(request)


class Load:
    """`start`, later `stop`, then `wait` until each key has its answer."""

    def __init__(self, options: Options, ports: list[int], journal: Journal) -> None:
        self.options = options
        self.asked = Asked()
        self.unanswered: list[Wish] = []
        self._ports = ports
        self._journal = journal
        self._wishes: queue.SimpleQueue[Wish | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._give_up_at = float("inf")
        self._threads = [threading.Thread(target=self._pace, name="chaos-load", daemon=True)]
        self._threads += [threading.Thread(target=self._send, name="chaos-sender", daemon=True) for _ in range(SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new flows from now on."""
        self._stopped.set()

    def wait(self, seconds: float) -> None:
        """Until every key has been answered; what is not by then is `unanswered`."""
        self._give_up_at = now() + seconds
        for thread in self._threads:
            thread.join(max(1.0, self._give_up_at - now() + 2 * TIMEOUT_S))

    def _pace(self) -> None:
        options = self.options
        rng = random.Random(f"{options.seed}/load")
        begin = now()
        for number in itertools.count():
            due = begin + number / options.flows_per_s
            if self._stopped.wait(max(0.0, due - now())):
                break
            shape = shapes.draw(options.shape, rng)
            self._wishes.put(Wish(number, shape, f"{options.seed}-{number}", due))
        for _ in range(SENDERS):
            self._wishes.put(None)

    def _send(self) -> None:
        with requests.Session() as session:
            while (wish := self._wishes.get()) is not None:
                self._ask_until_answered(session, wish)

    def _ask_until_answered(self, session: requests.Session, wish: Wish) -> None:
        for turn in itertools.count(wish.number):
            register = turn % len(self._ports)
            request = self._ask(session, wish, register)
            self.asked.note(request)
            self._journal.write("request", request)
            if request.status == 200:
                return
            if now() > self._give_up_at:
                self.unanswered.append(wish)
                return
            time.sleep(PAUSE_S)

    def _ask(self, session: requests.Session, wish: Wish, register: int) -> Request:
        sent = now()
        status, flow, error = None, None, None
        url = f"http://127.0.0.1:{self._ports[register]}/register/{wish.shape.task_id}"
        body = {"parameters": {"NUMBER": wish.number}}
        try:
            answer = session.post(url, json=body, headers={"Idempotency-Key": wish.key}, timeout=TIMEOUT_S)
            status = answer.status_code
            if status == 200:
                flow = answer.json()["taskFlowId"]
            else:
                error = answer.text[:500]
        except (requests.RequestException, ValueError, KeyError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:300]
        label = f"register{register + 1}"
        return Request(wish.key, wish.shape.task_id, wish.number, label, wish.due, sent, now(), status, flow, error)
