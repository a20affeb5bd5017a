"""The door of a service for who awaits: what the door over requests knows of paths and answers, over httpx.

Each method of `HttpDoor` makes one request and reads one answer. Here it is called twice: the first time it says which
request it wants to make, the second time it finds the answer there. So a path is written down once, for both doors.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from penstock.doors.door import Document, Door
from penstock.doors.http import PREFIX, SILENCE_S, HttpDoor
from penstock.doors.problems import Problem, Unavailable, problem_of
from penstock.sdk.httpx_of import httpx


class _Wanted(BaseException):
    """The request that a method wants to make; nothing between here and there may take it for an error."""

    def __init__(self, method: str, path: str, options: dict[str, Any]) -> None:
        self.method, self.path, self.options = method, path, options


class _Script(HttpDoor):
    """The door over requests, without a connection."""

    def __init__(self, where: str, answer: Document | None = None) -> None:
        self.where = where
        self._given = answer

    def _answer(self, method: str, path: str, **options: Any) -> Document:
        if self._given is None:
            raise _Wanted(method, path, options)
        return self._given


class AsyncDoor:
    """One service; to be closed."""

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        self.where = url.rstrip("/")
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._http = httpx.AsyncClient(timeout=timeout_s, headers=headers)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, of: Callable[[Door], Any]) -> Any:
        """What a method of the door answers. Errors: Problem."""
        try:
            return of(_Script(self.where))
        except _Wanted as wanted:
            answer = await self._answer(wanted)
        return of(_Script(self.where, answer))

    async def _answer(self, wanted: _Wanted) -> Document:
        options = {{"data": "content"}.get(name, name): value for name, value in wanted.options.items()}
        try:
            answer = await self._http.request(wanted.method, f"{self.where}{PREFIX}{wanted.path}", **options)
        except httpx.TransportError as error:
            words = f"{self.where} cannot be reached: {error or type(error).__name__}"
            raise Unavailable("unreachable", 0, words) from error
        document = _document(answer.content)
        if not answer.is_success:
            raise problem_of(answer.status_code, document)
        if not isinstance(document, dict):
            words = f"{self.where} is no Penstock: it answered {answer.text[:80]!r}"
            raise Problem("no-answer", answer.status_code, words)
        return document

    async def follow(self, flow_id: str | None, after: int) -> AsyncIterator[Document]:
        """Events behind a number. A stream that breaks is begun again behind the last; one that is refused raises."""
        last = after
        while True:
            try:
                async for event in self._stream(flow_id, last):
                    last = event["event_id"]
                    yield event
            except (httpx.TransportError, httpx.StreamError):
                await asyncio.sleep(random.uniform(0.5, 1.5))

    async def _stream(self, flow_id: str | None, after: int) -> AsyncIterator[Document]:
        query = {"after": str(after)} | ({} if flow_id is None else {"flow_id": flow_id})
        async with self._http.stream(
            "GET",
            f"{self.where}{PREFIX}/events/stream",
            params=query,
            headers={"Accept": "text/event-stream"},
            timeout=SILENCE_S,
        ) as answer:
            if answer.status_code == 503:
                raise httpx.ReadError("the service cannot answer for the moment")
            if not answer.is_success:
                raise problem_of(answer.status_code, _document(await answer.aread()))
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])


def _document(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
