"""Read the body of a request: bounded, and strict about what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from engine import jsontext
from engine.errors import BadRequest
from register.problems import BAD_REQUEST, TOO_LARGE, Refused, misfit

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, given up as soon as it is too long. Errors: Refused (413)."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > limit:
        raise Refused(TOO_LARGE, f"{int(declared):,} bytes, more than {limit:,}")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise Refused(TOO_LARGE, f"more than {limit:,} bytes")
    except ClientDisconnect as error:
        raise Refused(BAD_REQUEST, "the connection ended before the body did") from error
    return bytes(body)


async def read_lines(request: Request, limit: int, together: int) -> AsyncIterator[list[bytes]]:
    """The lines of a body of any length, so many at a time, without those that are blank. Errors: Refused (413) for a
    line that is longer than `limit` bytes."""
    lines: list[bytes] = []
    rest = b""
    try:
        async for part in request.stream():
            *whole, rest = (rest + part).split(b"\n")
            if len(rest) > limit or any(len(line) > limit for line in whole):
                raise Refused(TOO_LARGE, f"a line of more than {limit:,} bytes")
            lines += filter(bytes.strip, whole)
            while len(lines) >= together:
                yield lines[:together]
                del lines[:together]
    except ClientDisconnect as error:
        raise Refused(BAD_REQUEST, "the connection ended before the body did") from error
    yield [*lines, rest] if rest.strip() else lines


async def in_parts(documents: Sequence[Any], together: int) -> AsyncIterator[Sequence[Any]]:
    """A document that is there already, as `read_lines` gives one that is still to come."""
    for first in range(0, len(documents), together):
        yield documents[first : first + together]


def read_document(body: bytes) -> Any:
    """What a body says; an empty one says nothing in particular. Errors: BadRequest."""
    if not body.strip():
        return {}
    try:
        return jsontext.loads(body.decode())
    except jsontext.NotJSON as error:
        raise BadRequest("body", str(error)) from error
    except UnicodeDecodeError as error:
        raise BadRequest("body", "is not UTF-8") from error


def read_model(document: bytes | Any, model: type[M]) -> M:
    """A document, read or still to be read, as the model. Errors: BadRequest, Refused."""
    if isinstance(document, bytes):
        document = read_document(document)
    try:
        return model.model_validate(jsontext.as_object(document))
    except jsontext.NotJSON as error:
        raise BadRequest("body", str(error)) from error
    except ValidationError as error:
        raise misfit(error, place="body") from error
