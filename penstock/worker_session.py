"""What a remote worker says to its service over HTTP, patiently."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any, Final

import requests

log = logging.getLogger("penstock.worker")
MOST_TRIES: Final = 100
CONNECT_S: Final = 10.0
ANSWER_S: Final = 40.0
"""Longer than the service takes for an answer, beyond the seconds that a request asks it to wait."""


class ServiceRefused(Exception):
    """The service answered with a problem that asking again cannot mend."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status}: {problem.get('detail') or problem.get('title') or 'no reason given'}")


class GivenUp(Exception):
    """The service did not answer, for as long as it was worth asking."""


def back_off_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row. Source: Waterflow's worker."""
    return min(60.0, 3.0 + 2.0 ** min(failures, 6)) + random.uniform(0.0, 1.5)


class Session:
    """Requests to one service, from any thread."""

    def __init__(self, url: str, token: str | None, pause_s: Callable[[int], float] = back_off_s) -> None:
        self._base = f"{url.rstrip('/')}/api/v1/workers"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pause_s = pause_s
        self._own = threading.local()

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        wait_s: float = 0.0,
        answer_s: float = ANSWER_S,
        tries: int = MOST_TRIES,
        stop: threading.Event | None = None,
    ) -> dict[str, Any]:
        """The answer to one request; a connection that fails, 429 and 5xx are tried again.

        Errors: ServiceRefused; GivenUp after `tries`, or as soon as `stop` is set.
        """
        failures = 0
        while True:
            try:
                return self._once(method, path, body, wait_s + answer_s)
            except (requests.ConnectionError, requests.Timeout, _Later) as error:
                failures += 1
                pause_s = self._pause_s(failures)
                if failures >= tries or (stop is not None and stop.is_set()):
                    raise GivenUp(f"no answer from {self._base}{path}: {error}") from error
                log.warning(
                    "the service does not answer",
                    extra={"path": path, "error": str(error)[:200], "again_in_s": pause_s},
                )
                (stop or threading.Event()).wait(pause_s)

    def _once(self, method: str, path: str, body: Any, answer_s: float) -> dict[str, Any]:
        answer = self._session.request(
            method,
            self._base + path,
            json=body,
            headers=self._headers,
            timeout=(CONNECT_S, answer_s),
            allow_redirects=False,
        )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _Later(f"{answer.status_code} {answer.reason}")
        document = _document(answer)
        if answer.status_code >= 300:
            raise ServiceRefused(answer.status_code, document)
        return document

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
        session: requests.Session = self._own.session
        return session


class _Later(Exception):
    """The service says that it cannot answer now."""


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"detail": answer.text[:500]}
