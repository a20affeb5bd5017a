"""The door of a service over HTTP, by requests."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import requests

from engine.commands import Noun, command_of
from penstock.doors.door import Document, Door, Page
from penstock.doors.problems import Problem, Refused, Unavailable, problem_of

PREFIX: Final = "/api/v1"
TIMEOUT_S: Final = 40.0
"""Longer than the service itself takes its time."""
TRIES: Final = 4
SILENCE_S: Final = 60.0
"""A stream that says nothing for so long, not even that it lives, is begun anew."""


class HttpDoor(Door):
    """`token` goes with each request. Reads are tried again for some seconds while the service cannot be reached."""

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self.where = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, **query: Any) -> Document:
        """Read a path below /api/v1. Errors: Problem."""
        given = {name: _text(value) for name, value in query.items() if value is not None}
        for left in reversed(range(TRIES)):
            try:
                return self._answer("GET", path, params=given)
            except Unavailable:
                if not left:
                    raise
                time.sleep(random.uniform(0.5, 1.0) * 2 ** (TRIES - 1 - left) / 4)
        raise AssertionError

    def post(self, path: str, body: Mapping[str, Any]) -> Document:
        """Ask once: what was not answered may have been done. Errors: Problem."""
        return self._answer("POST", path, json=dict(body))

    def _answer(self, method: str, path: str, **options: Any) -> Document:
        try:
            answer = self._session.request(method, f"{self.where}{PREFIX}{path}", timeout=self._timeout_s, **options)
        except requests.RequestException as error:
            raise Unavailable("unreachable", 0, f"{self.where} cannot be reached: {error}") from error
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not answer.ok:
            raise problem_of(answer.status_code, document)
        if not isinstance(document, dict):
            raise Problem(
                "no-answer", answer.status_code, f"{self.where} is no Penstock: it answered {answer.text[:80]!r}"
            )
        return document

    def _page(self, path: str, members: str, **query: Any) -> Page:
        found = self.get(path, **query)
        return Page(found[members], found["next"])

    def flows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        return self._page("/flows", "flows", limit=limit, cursor=cursor, **where)

    def flow(self, flow_id: str) -> Document:
        return self.get(_path("flows", flow_id))

    def tasks(self, flow_id: str, *, limit: int = 50, cursor: str | None = None, status: int | None = None) -> Page:
        return self._page(_path("flows", flow_id, "tasks"), "tasks", limit=limit, cursor=cursor, status=status)

    def task(self, flow_id: str, seq: int) -> Document:
        return self.get(_path("flows", flow_id, "tasks", str(seq)))

    def failures(self, *, limit: int = 50) -> list[Document]:
        return _rows(self.get("/failures", limit=limit), "tasks")

    def edges(self, flow_id: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        return self._page(_path("flows", flow_id, "edges"), "edges", limit=limit, cursor=cursor)

    def waits_of(self, flow_id: str) -> list[Document]:
        return _rows(self.get(_path("flows", flow_id, "waits")), "waits")

    def logs(self, flow_id: str, seq: int) -> list[Document]:
        return _rows(self.get(_path("flows", flow_id, "tasks", str(seq), "logs")), "logs")

    def why(self, flow_id: str, seq: int | None = None) -> Document:
        of_task = () if seq is None else ("tasks", str(seq))
        return self.get(_path("flows", flow_id, *of_task, "why"))

    def queues(self) -> list[Document]:
        return _rows(self.get("/queues"), "queues")

    def limits(self) -> list[Document]:
        return _rows(self.get("/limits"), "limits")

    def watchers(self) -> list[Document]:
        return _rows(self.get("/watchers"), "watchers")

    def waits(self, *, kind: str | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        return self._page("/waits", "waits", kind=kind, limit=limit, cursor=cursor)

    def commands(
        self, *, subject: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        return self._page("/commands", "commands", subject=subject, after=after, limit=limit, cursor=cursor)

    def events(
        self, *, flow_id: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        return self._page("/events", "events", flow_id=flow_id, after=after, limit=limit, cursor=cursor)

    def follow(self, *, flow_id: str | None = None, after: int | None = None) -> Iterator[Document]:
        """A stream that breaks is begun again behind the last event; one that is refused raises."""
        last = after
        if last is None:
            newest = self.events(limit=1).rows
            last = newest[0]["event_id"] if newest else 0
        while True:
            try:
                for event in self._stream(flow_id, last):
                    last = event["event_id"]
                    yield event
            except requests.RequestException:
                time.sleep(random.uniform(0.5, 1.5))

    def _stream(self, flow_id: str | None, after: int) -> Iterator[Document]:
        query = {"after": str(after)} | ({} if flow_id is None else {"flow_id": flow_id})
        address = f"{self.where}{PREFIX}/events/stream"
        with self._session.get(
            address, params=query, stream=True, timeout=SILENCE_S, headers={"Accept": "text/event-stream"}
        ) as answer:
            if answer.status_code == 503:
                raise requests.ConnectionError(answer.text)
            if not answer.ok:
                raise problem_of(answer.status_code, answer.json())
            for line in answer.iter_lines(chunk_size=None):
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def tokens(self, *, kind: str = "api", limit: int = 50, cursor: str | None = None) -> Page:
        return self._page("/tokens", "tokens", kind=kind, limit=limit, cursor=cursor)

    def principals(self, *, limit: int = 50, cursor: str | None = None) -> Page:
        return self._page("/principals", "principals", limit=limit, cursor=cursor)

    def stats(self) -> Document:
        return self.get("/stats")

    def series(self, **where: Any) -> list[Document]:
        return _rows(self.get("/stats/series", **where), "minutes")

    def workflows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        return self._page("/workflows", "workflows", limit=limit, cursor=cursor, **where)

    def workflow(self, task_id: str) -> Document:
        return self.get(_path("workflows", task_id))

    def versions(self, task_id: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        return self._page(_path("workflows", task_id, "versions"), "versions", limit=limit, cursor=cursor)

    def version(self, task_id: str, version_id: str) -> Document:
        return self.get(_path("workflows", task_id, "versions", version_id))

    def diff(self, task_id: str, older: str | None = None, newer: str | None = None) -> Document:
        return self.get(_path("workflows", task_id, "diff"), **{"from": older, "to": newer})

    def run_script(self, text: str, reason: str | None = None, *, dry_run: bool = False) -> list[Document]:
        raise Refused("no-script", 0, "a SQL file needs the database itself: give --db, or write it as TOML or JSON")

    def ask(
        self,
        verb: str,
        subject: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Document:
        command = command_of(verb)
        if command.noun is Noun.EVERYTHING:
            path = f"/{command.name}"
        else:
            path = _path(f"{command.noun}s", subject or "", command.verb)
        body = dict(arguments or {}) | ({"reason": reason} if reason else {})
        answer: Document = self.post(path, body)["answer"]
        return answer

    def register_many(self, task_id: str, lines: Sequence[bytes]) -> Document:
        headers = {"Content-Type": "application/x-ndjson"}
        return self._answer("POST", _path("workflows", task_id, "register"), data=b"\n".join(lines), headers=headers)


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _rows(document: Document, members: str) -> list[Document]:
    rows: list[Document] = document[members]
    return rows


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
