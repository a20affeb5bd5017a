"""Conditions and mappings: what they mean, what they refuse, and that none of them takes long or ends the process."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from engine.errors import BadExpression, PenstockError
from engine.expression.evaluator import check, evaluate, names_in, truth
from engine.expression.grammar import MAX_CHARS, MAX_DEPTH, MAX_TOKENS

SCOPE: dict[str, Any] = {
    "result": {
        "amount": 150,
        "ratio": 2.5,
        "nothing": None,
        "name": "r2024.csv",
        "big": 2**62,
        "huge": 10**30,
        "items": [{"id": 1, "ok": True}, {"id": 2, "ok": False}],
        "in": "reserved",
        "a-b": 7,
    },
    "params": {"wanted": [2, 3], "limit": 100.0},
    "results": {"load": {"rows": 3}},
}


@pytest.mark.parametrize("amount, expected", [(150, True), (150.5, True), (99, False), (99.5, False), (10**30, True)])
def test_numbers_of_json_compare_as_people_expect(amount: float, expected: bool) -> None:
    assert truth("result.amount > 100", {"result": {"amount": amount}}) is expected
    assert truth("result.amount > 100.0", {"result": {"amount": amount}}) is expected
    assert truth("100 < result.amount", {"result": {"amount": amount}}) is expected


@pytest.mark.parametrize(
    "text, value",
    [
        ("result.amount == 150.0", True),
        ("result.amount + 1", 151),
        ("result.ratio * 2.0", 5.0),
        ("double(result.amount) * 1.2", 180.0),
        ("result.amount / 100", 1),
        ("result.big", 2**62),
        ("result.nothing == null", True),
        ("has(result.missing) && result.missing > 1", False),
        ("has(result.amount) ? result.amount : 0", 150),
        ("result['a-b'] + 1", 8),
        ('result["in"]', "reserved"),
        ("result.items[1].id", 2),
        ("result.items.exists(i, i.id in params.wanted)", True),
        ("result.items.all(i, i.ok)", False),
        ("result.items.exists_one(i, i.ok)", True),
        ("result.items.filter(i, i.ok).size()", 1),
        ("size(result.items) == 2 && result.items.all(i, i.id > 0) && result.items.exists(i, i.ok)", True),
        ("result.name.matches(r'^r\\d{4}\\.csv$')", True),
        ("result.name.startsWith('r') && result.name.endsWith('.csv') && result.name.contains('20')", True),
        ("results.load.rows", 3),
        ("{'rows': results.load.rows, 'all': [1, 2.5, null, 'x']}", {"rows": 3, "all": [1, 2.5, None, "x"]}),
        ("timestamp('2024-02-28T00:00:00Z') + duration('24h')", "2024-02-29T00:00:00+00:00"),
        ("duration('90s')", 90.0),
        ("timestamp('2024-02-28T00:00:00Z').getFullYear()", 2024),
        ('\'{"not": ["a bracket"\'', '{"not": ["a bracket"'),
        ("'it\\'s' + \" a 'text'\"", "it's a 'text'"),
        ("-(-result.amount) - -1", 151),
        ("!(!true)", True),
        ("result.items", SCOPE["result"]["items"]),
        ("result", SCOPE["result"] | {"huge": 1e30}),  # beyond 64 bits a whole number is a double
    ],
)
def test_an_expression_gives_json(text: str, value: object) -> None:
    found = evaluate(text, SCOPE)
    assert found == value
    assert type(found) is type(value)
    assert json.loads(json.dumps(found)) == value


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        ("  \n ", "is empty"),
        ("1 +", "ends too early"),
        ("(1", "never closed"),
        ("1)", "closes no bracket"),
        ("[1)", "closes no bracket"),
        ("1 2", "operator is missing"),
        ("result result", "operator is missing"),
        ("&& true", "value is missing"),
        ("1 + * 2", "value is missing"),
        ("true ? 1", "':' is missing"),
        ("true : 1", "no '?'"),
        ("{1, 2}", "a map is written"),
        ("Thing{a: 1}", "a map is written"),
        ("1, 2", "comma"),
        ("result.", "ends too early"),
        ("result.'a'", "name must follow"),
        ("result.in", "value is missing"),
        (".5", "value is missing"),
        ("()", "nothing in these brackets"),
        ("result[]", "nothing in these brackets"),
        ("1 // comment", "not understood"),
        ("b'bytes'", "not understood"),
        ("'''long'''", "not understood"),
        ("1u", "not understood"),
        ("`result`", "not understood"),
        ("result; drop", "not understood"),
        ("'open", "not understood"),
        ("grüße", "not understood"),
        ("9223372036854775808", "cannot be read"),
        ("'\\z'", "cannot be read"),
        ("nope()", "no function 'nope'"),
        ("result.items.map(i, i.id)", "no function 'map'"),
        ("bytes('a')", "no function 'bytes'"),
        ("__import__('os')", "no function '__import__'"),
        ("result.__class__", "finds no '__class__'"),
        ("all(i, true)", "no function"),
        ("result.items.all(true)", "write it as"),
        ("result.items.all(i, result.items.all(j, true))", "nested"),
        ("[1].all(a,true)&&[1].all(a,true)&&[1].all(a,true)&&[1].all(a,true)&&[1].all(a,true)", "more than 4"),
        ("result.name.matches(result.name)", "pattern as a text"),
        ("matches(result.name, 'a')", "pattern as a text"),
        ("result.name.matches('(a{1,100}){1,100}')", "too costly"),
        ("result.name.matches('(')", "matches"),
        ("has(result)", "has"),
        ("result.missing > 1", "finds no 'missing' in its data; guard it with has"),
        ("result.nothing > 1", "do not go together"),
        ("result.name > 1", "do not go together"),
        ("result.amount + 1.5", "double("),
        ("result.amount / 0", "divides by zero"),
        ("result.big * 100", "fails"),
        ("result.items[7]", "fails"),
        ("result.items[-1]", "fails"),
        ("string(true)", "not for"),
        ("int('x')", "fails"),
        ("1.0 / 0.0", "no finite number"),
        ("{1: 2}", "keys that are no text"),
        ("resul.amount", "did you mean 'result'"),
        ("colour", "there are result, params, results"),
        ("result.items.all(i, true) && i == 1", "variable 'i'"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(BadExpression) as error:
        evaluate(text, SCOPE)
    assert words in str(error.value)
    assert error.value.expression == text
    assert "\n" not in error.value.why
    assert isinstance(error.value, PenstockError)


@pytest.mark.parametrize("text", ["1", "'true'", "null", "result", "[true]"])
def test_a_condition_must_be_true_or_false(text: str) -> None:
    with pytest.raises(BadExpression, match="must be true or false"):
        truth(text, SCOPE)


def test_names_are_those_that_the_data_must_have() -> None:
    assert names_in("result.x > params['y'] && results.a.all(i, i.error == flow.id)") == {
        "result",
        "params",
        "results",
        "flow",
    }
    assert names_in("'result' + \"params\"") == frozenset()
    assert names_in("{'a': error.reason, 'b': [1].exists(result, result > 0)}") == {"error"}
    assert names_in("[1].exists(x, x > 0) && x > 0") == {"x"}


def test_checking_needs_no_data_and_names_the_nearest() -> None:
    check("result.anything > 3", ("result",))
    with pytest.raises(
        BadExpression, match=r"variable 'reslts' \(did you mean 'results'\?\); there are result, results"
    ):
        check("reslts.a", ("result", "results"))
    with pytest.raises(BadExpression, match="there are no variables here"):
        check("zzz", ())


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", object(), {"deep": (1, 2)}], ids=["a set", "bytes", "an object", "a tuple"]
)
def test_data_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(BadExpression, match="is not JSON"):
        evaluate("result == 1", {"result": value})


def test_only_what_is_named_is_looked_at() -> None:
    assert evaluate("result.a == 1", {"result": {"a": 1, "b": object()}}) is True


def test_what_is_too_long_is_refused() -> None:
    assert evaluate("1" + " " * (MAX_CHARS - 1), {}) == 1
    for text, words in {
        "1" + " " * MAX_CHARS: "characters",
        "1" + "+1" * MAX_TOKENS: "words and signs",
        "true?1:" * 30 + "1": "choices",
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1): "nested more than",
    }.items():
        with pytest.raises(BadExpression, match=words):
            evaluate(text, {})


SHAPES = (
    *(
        left * MAX_DEPTH + "1" + "+1" * 100 + right * MAX_DEPTH
        for left, right in ("()", "[]", ("{1:", "}"), ("!(", ")"))
    ),
    "size(" * MAX_DEPTH + "'a'" + ".size()" * 60 + ")" * MAX_DEPTH,
    "a" + ".b" * 190,
    "a" + "[0]" * 120,
    "'a'" + ".size()" * 75,
    "!" * 390 + "true",
    "- " * 390 + "1",
    "true?1:" * 20 + "1",
    "1" + "<1" * 190,
    "true" + "&&true" * 190,
    "[}" * 190,
    "result[]" * 120,
    "('a'" * 150,
    "matches('a')''" * 70,
)


@pytest.mark.parametrize("text", SHAPES, ids=range(len(SHAPES)))
def test_no_shape_needs_more_stack_than_a_small_thread_has(text: str) -> None:
    """A crash of the native parser would end this process; unbounded, these do so on a stack of half a megabyte."""
    took: list[float] = []

    def run() -> None:
        begun = time.monotonic()
        with pytest.raises(BadExpression):
            evaluate(f"{text} == nope", {"a": {"b": [1]}})
        took.append(time.monotonic() - begun)

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(60)
    assert took
    assert took[0] < 5


NUMBERS: list[int] = [0] * 520_000
OBJECTS: list[dict[str, int]] = [{"a": 1}] * 130_000
WORDS = [f"w{number}" for number in range(100_000)]
TEXT = "a" * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "r == r",
        "r",
        "[r, r]",
        f"[{','.join(['r'] * 100)}]",
        "+".join(["r"] * 100),
        "r.all(x, x == 0)",
        f"r.all(x, {'&&'.join(['x == 0'] * 60)})",
        "r.exists(x, x in r)",
        "r.all(x, r == r)",
        "r.filter(x, true).size()",
        "(r + r).filter(x, true)",
        "r.exists(x, x.matches('^b+$'))",
        r"r.matches('(\\w{1,30})*b')",
        r"r.all(x, x.matches('(\\w{1,30})*b'))",
        "r.all(x, x + x + x + x + x + x == x)",
        "[r, r].all(x, x == x)",
        "r.all(x, [r, r, r] != [])",
    ],
)
@pytest.mark.parametrize("data", [NUMBERS, OBJECTS, WORDS, TEXT], ids=["numbers", "objects", "words", "text"])
def test_over_a_megabyte_everything_is_quick_or_refused(text: str, data: object) -> None:
    """Some of these would take hours, or all memory. The limit is wide: what is let through takes about a second."""
    begun = time.monotonic()
    with suppress(BadExpression):
        evaluate(text, {"r": data})
    assert time.monotonic() - begun < 20


def test_a_small_part_of_a_megabyte_costs_little() -> None:
    scope = {"result": {"items": OBJECTS, "amount": 3, "wanted": [1]}}
    begun = time.monotonic()
    for _ in range(200):
        assert truth("result.amount > 2", scope)
    assert time.monotonic() - begun < 5  # a hundred times less than converting everything each time
    assert truth("result.items.exists(x, x.a in result.wanted)", scope)


def test_the_refusal_says_how_much_and_what_to_do() -> None:
    with pytest.raises(BadExpression, match=r"may take [\d,]+ steps .* at most 20,000,000 .*name the part it is about"):
        evaluate("r.exists(x, x in r)", {"r": NUMBERS})
    with pytest.raises(BadExpression, match="nested more than 128 deep"):
        evaluate("r", {"r": json.loads("[" * 900 + "]" * 900)})


def test_a_compiled_expression_serves_all_threads() -> None:
    wrong: list[object] = []

    def run(number: int) -> None:
        for turn in range(300):
            if evaluate("result.a + result.b", {"result": {"a": number, "b": turn}}) != number + turn:
                wrong.append((number, turn))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


class Panic(BaseException):
    """As pyo3's PanicException: no Exception."""


def test_a_panic_of_the_native_library_is_a_bad_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(_: str) -> None:
        raise Panic("attempt to subtract with overflow")

    monkeypatch.setattr("cel.compile", panic)
    with pytest.raises(BadExpression, match="fails: attempt to subtract"):
        evaluate("result.never_compiled_before == 1", {"result": {}})
