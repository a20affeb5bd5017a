"""A remote worker: runs programs for a Penstock service that it reaches by HTTP alone.

    from penstock.worker import Worker

    Worker("https://penstock.example", token, programs={"resize": resize}, queues=["images"]).run()

`run` works until SIGTERM or SIGINT, finishes what it has begun, and hands the rest back. Answers are kept while the
service is away. docs/remote-workers.md has the protocol, for workers in other languages.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engine.task_logs import MAX_PART
from penstock.worker_holding import Holding
from penstock.worker_runs import Held, Unreadable, answer_of, released, timed_out
from penstock.worker_session import GivenUp, ServiceRefused, Session, back_off_s
from programs.catalogue import Catalogue, build_catalogue
from programs.contract import FunctionProgram, Program
from programs.guard import Guard
from watcher import capture, masking
from watcher.secrets import Secrets

log = logging.getLogger("penstock.worker")
MAX_BATCH: Final = 100
LOG_EVERY_S: Final = 1.0
LOG_ANSWER_S: Final = 5.0
TICK_S: Final = 0.05
FLUSH_S: Final = 10.0
"""How long the last answers may take at the stop: a service that is away then hears them from nobody."""


class Worker:
    """One remote worker. `run` blocks; `stop` may be called from any thread or signal handler."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        programs: Mapping[str, Callable[..., Any] | Program] | Catalogue,
        queues: Sequence[str] = ("default",),
        threads: int = 8,
        lease_s: float = 20.0,
        wait_s: float = 20.0,
        grace_s: float = 10.0,
        label: str = "",
        pause_s: Callable[[int], float] = back_off_s,
        secret_env: Sequence[str] = ("*",),
        secret_dir: str | None = None,
        http_networks: Sequence[str] = (),
    ) -> None:
        """`programs`: name -> function, or a catalogue. Units: seconds; `wait_s` is how long one request waits for
        work, `grace_s` how long begun tasks may go on at the stop. `pause_s` says how long to wait after so many
        failures of the service in a row. `secret_env` and `secret_dir`: where tasks may be given secrets from.
        `http_networks`: internal networks to which they may send requests, as `10.0.0.0/8` or `127.0.0.1:8000`.

        Errors: ValueError for what is no network."""
        Guard(http_networks)
        self._http_networks = tuple(http_networks)
        self._catalogue = programs if isinstance(programs, Catalogue) else _catalogue_of(programs)
        self._session = Session(url, token, pause_s)
        self._enlisting = {
            "programs": sorted(self._catalogue),
            "queues": list(queues),
            "slots": threads,
            "lease_s": lease_s,
            "host": socket.gethostname()[:256] or "unknown",
            "pid": os.getpid(),
            "label": label,
        }
        self._secrets = masking.secrets_of(os.environ, token)
        self._of_tasks = Secrets(secret_env, secret_dir, self._catalogue.secret_of)
        self._holding = Holding(threads)
        self._wait_s = wait_s
        self._grace_s = grace_s
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._hurry = threading.Event()
        """No patience any more: the process is to end."""
        self._failure: Exception | None = None
        self._beat_s = lease_s / 4
        self.worker_id: str | None = None
        self.finished = 0
        """Answers that the service has taken."""
        self.refused = 0
        """Answers that came too late."""

    def stop(self) -> None:
        """Claim nothing more; asked a second time, interrupt what runs."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def run(self, *, until_idle: bool = False, handle_signals: bool = True) -> None:
        """Work until stopped; with `until_idle`, until there is nothing more to claim.

        Errors: ServiceRefused, where the service will not have this worker; GivenUp, where it cannot be reached.
        """
        if handle_signals and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop())
        capture.install()
        masking.install(self._secrets)
        self._enlist()
        loops = (self._claim_until_stopped, self._settle_until_ended, self._beat_until_ended, self._log_until_ended)
        threads = [threading.Thread(target=self._guarded, args=(loop,), daemon=True) for loop in loops]
        self._until_idle = until_idle
        for thread in threads:
            thread.start()
        try:
            self._watch_over()
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:
            self._failure = self._failure or error
            self._stopping.set()

    def _enlist(self) -> None:
        enlisted = self._session.ask("", self._enlisting, stop=self._stopping)
        self.worker_id, self._beat_s = enlisted["worker_id"], enlisted["beat_s"]
        log.info("worker %s enlisted: %d programs", self.worker_id, len(self._catalogue))

    def _watch_over(self) -> None:
        """Keep time limits until everything is over."""
        deadline: float | None = None
        while True:
            self._time_out()
            if self._stopping.is_set():
                deadline = deadline or time.monotonic() + self._grace_s
                if not self._holding.running or time.monotonic() > deadline or self._hurry.is_set():
                    return
                time.sleep(TICK_S)
            else:
                self._stopping.wait(TICK_S)

    def _close(self) -> None:
        """Interrupt what still runs, settle what there is to settle, and leave."""
        for held in self._holding.running:
            held.stop.set()
        ends = time.monotonic() + 2.0
        while self._holding.running and time.monotonic() < ends:
            time.sleep(TICK_S)
        ends = time.monotonic() + FLUSH_S
        while self._holding.unsettled and time.monotonic() < ends and self._failure is None:
            time.sleep(TICK_S)
        self._ended.set()
        try:
            self._session.ask(f"/{self.worker_id}", method="DELETE", tries=2, stop=self._ended)
        except (GivenUp, ServiceRefused) as error:
            log.warning("could not leave, the lease will lapse: %s", error)
        log.info("worker %s stopped: %d settled, %d too late", self.worker_id, self.finished, self.refused)

    def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            if not (free := self._holding.free_places(0.5)):
                continue
            found = self._claimed(free)
            for work in found["tasks"]:
                self._begin(Held(work))
            if found["drain"] or (self._until_idle and not found["tasks"] and self._holding.is_idle):
                self._stopping.set()

    def _claimed(self, free: int) -> dict[str, Any]:
        wait_s = 0.5 if self._until_idle else self._wait_s
        body = {"max": min(free, 500), "wait_s": wait_s, "request": os.urandom(16).hex()}
        try:
            return self._session.ask(f"/{self.worker_id}/claim", body, wait_s=wait_s, stop=self._stopping)
        except ServiceRefused as error:
            if error.status != 404:
                raise
            if not self._stopping.is_set():
                self._enlist()  # it was given up: what it holds is settled by the fences of its claims
        except GivenUp:
            if not self._stopping.is_set():
                raise
        return {"tasks": [], "drain": False}

    def _begin(self, held: Held) -> None:
        self._holding.add(held)
        if self._stopping.is_set():
            self._holding.answer(held, released(held))
            return
        threading.Thread(target=self._run_one, args=(held,), daemon=True).start()

    def _run_one(self, held: Held) -> None:
        self._holding.answer(held, answer_of(held, self._catalogue, self._asked, self._of_tasks, self._http_networks))

    def _time_out(self) -> None:
        for held in self._holding.running:
            if held.is_overdue():
                log.warning("task ran out of time: %s", dict(held.claim))
                held.stop.set()
                self._holding.answer(held, timed_out(held))

    def _asked(self, claim: Mapping[str, Any], what: str) -> Any:
        try:
            found = self._session.ask(f"/{self.worker_id}/inputs", {"claim": claim, "what": [what]}, tries=3)
        except (GivenUp, ServiceRefused) as error:
            raise Unreadable(str(error)) from error
        return found[what]

    def _settle_until_ended(self) -> None:
        while not self._ended.is_set():
            if batch := self._holding.answers(MAX_BATCH, 0.2):
                self._settle([answer for _, answer in batch])
                self._holding.settled([held for held, _ in batch])

    def _settle(self, batch: list[dict[str, Any]]) -> None:
        """Until the service has heard it: an answer that exists is worth any patience."""
        try:
            told = self._session.ask(f"/{self.worker_id}/settle", batch, tries=10**9, stop=self._ended)["answers"]
        except ServiceRefused as error:
            if error.status == 409:
                told = error.problem.get("answers") or [{"answer": "stale"}] * len(batch)
            elif len(batch) > 1:  # one of them is at fault, or all together are too large
                half = len(batch) // 2
                self._settle(batch[:half])
                self._settle(batch[half:])
                return
            else:
                told = self._settle_refusal(batch[0], error)
        except GivenUp as error:
            log.error("%d answers are lost, their tasks will be run again: %s", len(batch), error)
            return
        for answer, one in zip(batch, told, strict=False):
            if one["answer"] == "settled":
                self.finished += answer["outcome"] != "release"
            else:
                self.refused += 1
                log.warning("answer came too late: %s", answer["claim"])

    def _settle_refusal(self, answer: dict[str, Any], error: ServiceRefused) -> list[dict[str, Any]]:
        """What the program answered is refused as it stands: its task is, too, with the reason."""
        log.error("the answer for %s was refused: %s", answer["claim"], error)
        words = f"the service refuses what the program answered: {error}"
        bare = {"claim": answer["claim"], "outcome": "fail", "error": words, "refused": "bad result"}
        try:
            told: list[dict[str, Any]] = self._session.ask(
                f"/{self.worker_id}/settle", [bare], tries=10**9, stop=self._ended
            )["answers"]
        except (ServiceRefused, GivenUp) as again:
            log.error("nothing can be said of %s: %s", answer["claim"], again)
            return [{"answer": "misfit"}]
        return told

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(self._beat_s):
            body = {"holding": self._holding.claims()}
            try:
                beaten = self._session.ask(
                    f"/{self.worker_id}/beat", body, tries=1, answer_s=max(2.0, 2 * self._beat_s)
                )
            except ServiceRefused as error:
                if error.status != 404:
                    raise
                continue  # the next claim enlists anew
            except GivenUp:
                continue
            self._heed(beaten)

    def _heed(self, beaten: dict[str, Any]) -> None:
        lost = {(one["claim_id"], one["exec_seq"], one["flow_id"]) for one in beaten["lost"]}
        for held in self._holding.running:
            if (held.claim["claim_id"], held.claim["exec_seq"], held.claim["flow_id"]) in lost:
                held.stop.set()
        if beaten["drain"]:
            self._stopping.set()

    def _log_until_ended(self) -> None:
        while not self._ended.wait(LOG_EVERY_S):
            for held in self._holding.running:
                with held.telling:
                    if not held.answered.locked() and (part := held.log.part()) is not None:
                        self._tell(held, part)

    def _tell(self, held: Held, part: str) -> None:
        texts = [part[place : place + MAX_PART] for place in range(0, len(part), MAX_PART)]
        body = {"parts": [{"claim": held.claim, "text": text} for text in texts]}
        try:
            self._session.ask(f"/{self.worker_id}/log", body, tries=1, answer_s=LOG_ANSWER_S)
        except (GivenUp, ServiceRefused) as error:
            held.log.put_back(part)
            log.info("a part of a log waits: %.200s", error)


def _catalogue_of(programs: Mapping[str, Callable[..., Any] | Program]) -> Catalogue:
    """A catalogue of these programs alone."""
    known = [
        program if isinstance(program, Program) else FunctionProgram(program, name)
        for name, program in programs.items()
    ]
    built = build_catalogue(plugins=[], extra=known)
    names = {program.name for program in known}
    return Catalogue({name: built[name] for name in names})
