"""What is not run, or not kept."""

from __future__ import annotations


class Refused(Exception):
    """The row cannot be run as it stands: a person must repair it."""

    def __init__(self, reason: str, words: str) -> None:
        self.reason = reason
        self.words = words
        super().__init__(words)
