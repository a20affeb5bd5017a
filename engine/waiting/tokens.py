"""Tokens of call-backs: what is kept of them is a hash, from which nobody can tell the token.

The id of the wait is made of the hash too, so that a token belongs to one wait, which its key finds; an early call-back
is a message of the same id, so that the second one is refused by the key as well.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

CALLBACK: Final = "~callback"
"""The name of messages that are early call-backs; names of other messages may not begin with a tilde."""
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def digest(token: str) -> str:
    """The SHA-256 of a token, in hex. A token is 256 random bits, so it takes no salt to keep it from being guessed,
    and comparing hashes tells nobody how much of a guess was right."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(hashed: str) -> str:
    """The id of the wait, and of the early call-back, that belong to a hashed token."""
    return str(uuid.UUID(bytes=bytes.fromhex(hashed)[:16]))


def has_shape(token: str) -> bool:
    """Does it look like a token of `call.new_token()`?"""
    return _SHAPE.fullmatch(token) is not None
