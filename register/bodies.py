"""Read the body of a request: bounded, and strict about what it says."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from engine import jsontext
from engine.errors import BadRequest
from register.models import RegisterBody
from register.problems import BAD_REQUEST, TOO_LARGE, Refused, misfit


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


def read_wish(body: bytes) -> RegisterBody:
    """The body of a registration; an empty one wishes for nothing in particular. Errors: BadRequest, Refused."""
    if not body.strip():
        return RegisterBody()
    try:
        document = jsontext.loads_object(body.decode())
    except jsontext.NotJSON as error:
        raise BadRequest("body", str(error)) from error
    except UnicodeDecodeError as error:
        raise BadRequest("body", "is not UTF-8") from error
    try:
        return RegisterBody.model_validate(document)
    except ValidationError as error:
        raise misfit(error, place="body") from error
