"""An expression as words and signs: the lexer, and a check that they alternate as in CEL.

The native parser recovers from mistakes by recursion, which may need more stack than a thread has. So nothing reaches
it that is not well-formed: brackets that match, an operator between two values, `? :` in pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.errors import BadExpression

MAX_CHARS: Final = 4_096
MAX_TOKENS: Final = 400
MAX_DEPTH: Final = 24
"""Brackets in brackets: the parser's own recursion ends the process at 64 on a stack of half a megabyte."""
MAX_CHOICES: Final = 20
CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
LITERALS: Final = frozenset({"true", "false", "null"})
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<string>[rR]?(?:'''|\"\"\"))            # refused below, but never read as an empty string
    | (?P<raw>[rR](?:'[^'\r\n]*'|"[^"\r\n]*"))
    | (?P<quoted>'(?:[^'\\\r\n]|\\[^\r\n])*'|"(?:[^"\\\r\n]|\\[^\r\n])*")
    | (?P<number>0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_])
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)(?!['"])
    | (?P<op>==|!=|<=|>=|&&|\|\||(?!//)[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    kind: str
    text: str
    place: int


def tokens_of(text: str) -> list[Token]:
    """The tokens of a well-formed expression. Errors: BadExpression, with the place."""
    if not isinstance(text, str) or not text.strip():
        raise BadExpression(str(text), "is empty")
    if len(text) > MAX_CHARS:
        raise BadExpression(text, f"has {len(text):,} characters, at most {MAX_CHARS:,} are read")
    tokens = _split(text)
    _Grammar(text, tokens).check()
    return tokens


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup == "string":
            raise BadExpression(
                text, f"has something at character {place + 1} that is not understood: {_near(text, place)}"
            )
        if found.lastgroup != "space":
            tokens.append(Token(found.lastgroup or "", found.group(), place))
        place = found.end()
    if len(tokens) > MAX_TOKENS:
        raise BadExpression(text, f"has {len(tokens):,} words and signs, at most {MAX_TOKENS} are read")
    if sum(token.text == "?" for token in tokens) > MAX_CHOICES:
        raise BadExpression(text, f"has more than {MAX_CHOICES} choices (? :)")
    return tokens


def _near(text: str, place: int) -> str:
    return repr(text[place : place + 12])


def bad(text: str, token: Token, why: str) -> BadExpression:
    return BadExpression(text, f"is wrong at character {token.place + 1}, {token.text!r}: {why}")


def ends_value(token: Token | None) -> bool:
    """Whether a value may end here, so that an operator must follow."""
    return token is not None and token.text != "in" and (token.kind != "op" or token.text in CLOSING.values())


@dataclass
class _Bracket:
    token: Token
    called: bool  # the arguments of a call
    index: bool
    choices: int = 0
    keyed: bool = False


class _Grammar:
    """Checks each token against the one before it and the bracket that it stands in."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._open = [_Bracket(Token("op", "", 0), called=False, index=False)]
        self._before: Token | None = None

    def check(self) -> None:
        for token in self._tokens:
            self._one(token)
            self._before = token
        last = self._tokens[-1]
        if len(self._open) > 1:
            raise self._bad(self._open[-1].token, "this bracket is never closed")
        self._end_of_part(last, "the expression ends too early")

    def _one(self, token: Token) -> None:
        after_value = ends_value(self._before)
        if token.text in CLOSING:
            self._opening(token, after_value)
        elif token.text in CLOSING.values():
            self._closing(token)
        elif token.kind == "op" and token.text not in ("!", "-"):
            if not after_value:
                raise self._bad(token, "a value is missing before it")
            self._separator(token)
        elif token.text == "in":
            if not after_value:
                raise self._bad(token, "a value is missing before it")
        elif token.text == "!" or token.kind != "op":
            self._value(token, after_value)

    def _value(self, token: Token, after_value: bool) -> None:
        if after_value:
            raise self._bad(token, "an operator is missing before it")
        if self._is(".") and (token.kind != "name" or token.text in LITERALS):
            raise self._bad(token, "a name must follow the dot")

    def _opening(self, token: Token, after_value: bool) -> None:
        called = token.text == "(" and self._before is not None and self._before.kind == "name" and after_value
        if after_value and not called and token.text != "[":
            raise self._bad(token, "an operator is missing before it; a map is written {'name': value}")
        if self._is("."):
            raise self._bad(token, "a name must follow the dot")
        self._open.append(_Bracket(token, called, token.text == "[" and after_value))
        if len(self._open) - 1 > MAX_DEPTH:
            raise self._bad(token, f"brackets are nested more than {MAX_DEPTH} deep")

    def _closing(self, token: Token) -> None:
        here = self._open[-1]
        if CLOSING.get(here.token.text) != token.text:
            raise self._bad(token, "this closes no bracket that is open")
        if self._before is not here.token:
            self._end_of_part(token, "a value is missing before it")
        elif here.index or (token.text == ")" and not here.called):
            raise self._bad(token, "there is nothing in these brackets")
        self._open.pop()

    def _separator(self, token: Token) -> None:
        here = self._open[-1]
        if token.text == "?":
            here.choices += 1
        elif token.text == ":" and here.choices:
            here.choices -= 1
        elif token.text == ":":
            if here.token.text != "{" or here.keyed:
                raise self._bad(token, "there is no '?' before it")
            here.keyed = True
        elif token.text == ",":
            if here.token.text not in CLOSING or here.index or (here.token.text == "(" and not here.called):
                raise self._bad(token, "a comma stands only between the parts of a list, a map or a call")
            self._end_of_part(token, "a value is missing before it")
            here.keyed = False

    def _end_of_part(self, token: Token, why: str) -> None:
        """At a comma, a closing bracket or the end: what came before must be whole."""
        here = self._open[-1]
        if not ends_value(self._before):
            raise self._bad(token, why)
        if here.choices:
            raise self._bad(token, "a ':' is missing for the '?' before it")
        if here.token.text == "{" and not here.keyed:
            raise self._bad(token, "a map is written {'name': value}")

    def _is(self, sign: str) -> bool:
        return self._before is not None and self._before.text == sign

    def _bad(self, token: Token, why: str) -> BadExpression:
        return bad(self._text, token, why)
