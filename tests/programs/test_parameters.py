import enum
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import AfterValidator, BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from programs.builtin import penstock_programs
from programs.contract import Call, Program, program
from programs.errors import ParameterError, SignatureError
from programs.outcomes import Finish
from programs.parameters import check, json_schema


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int


class Box(TypedDict):
    side: float


@dataclass
class Line:
    length: int


class Login(BaseModel):
    user: str
    password: SecretStr


def checked(annotation: Any, raw: Any) -> Any:
    def one(X): ...

    one.__annotations__["X"] = annotation
    return check(program(one), {"X": raw})["X"]


@pytest.mark.parametrize(
    "annotation, raw, value",
    [
        (float, "3", 3.0),
        (int, "3", 3),
        (bool, "true", True),
        (bool, "false", False),
        (str, "3", "3"),
        (str, '{"id": "test"}', '{"id": "test"}'),
        (str | dict, '{"id": "test"}', '{"id": "test"}'),
        (Any, "[1]", "[1]"),
        (Literal["a", "b"], "b", "b"),
        (Colour, "blue", Colour.BLUE),
        (int | None, None, None),
        (int | None, "3", 3),
        (datetime, "2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (timedelta, "3.5", timedelta(seconds=3.5)),
        (timedelta, "PT3S", timedelta(seconds=3)),
        (timedelta, "00:00:03", timedelta(seconds=3)),
        (timedelta | None, 3, timedelta(seconds=3)),
        (dict, '{"a": [1]}', {"a": [1]}),
        (dict[str, int], '{"a": "1"}', {"a": 1}),
        (list[int], "[1, 2]", [1, 2]),
        (list[int] | None, "[1]", [1]),
        (Annotated[list[int], Field(min_length=1)], "[1]", [1]),
        (list, [1], [1]),
        (tuple[int, ...], "[1]", (1,)),
        (set[int], "[1, 1]", {1}),
        (Point, '{"x": 1}', Point(x=1)),
        (Box, '{"side": 2}', {"side": 2.0}),
        (Line, '{"length": 2}', Line(2)),
    ],
)
def test_text_is_coerced_to_the_type(annotation, raw, value):
    result = checked(annotation, raw)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    "annotation, raw, message",
    [
        (float, "nan", "finite"),
        (float, "inf", "finite"),
        (float, float("-inf"), "finite"),
        (float, "1e999", "finite"),
        (list[float], "[NaN]", "JSON"),
        (dict, '{"a": Infinity}', "JSON"),
        (dict, "{", "expected JSON"),
        (dict, "[1]", "expected a valid dictionary, got"),
        (list, "", "expected JSON"),
        (int, "x", "expected a valid integer.*got 'x'"),
        (int, "", "expected a valid integer.*got ''"),
        (int, "3.5", "integer"),
        (int, None, "expected a valid integer, got None"),
        (str, 3, "expected a valid string, got 3"),
        (Literal["a", "b"], "c", "expected 'a' or 'b', got 'c'"),
        (Colour, "green", "expected 'red' or 'blue', got 'green'"),
        (Annotated[int, Field(ge=0)], "-1", "greater than or equal to 0, got '-1'"),
        (timedelta, "soon", "timedelta.*got 'soon'"),
        (Point, '{"x": "y"}', r"\.x: expected a valid integer"),
    ],
)
def test_what_does_not_fit_is_refused_with_expectation_and_value(annotation, raw, message):
    with pytest.raises(ParameterError, match=f"X.*{message}"):
        checked(annotation, raw)


@program
def mixed(call: Call, URL: str, COUNT: int, SLEEP_TIME_SECOND: float = 1.5): ...


def test_all_problems_come_at_once():
    with pytest.raises(ParameterError) as caught:
        check(mixed, {"COUNT": "x", "sleep_time_seconds": "1", "zzz": "hunter2"})
    assert caught.value.program == "mixed"
    assert caught.value.problems == [
        "URL: required, but not given (string)",
        "COUNT: expected a valid integer, unable to parse string as an integer, got 'x'",
        "sleep_time_seconds: unknown parameter, did you mean SLEEP_TIME_SECOND?",
        "zzz: unknown parameter; this program takes URL, COUNT, SLEEP_TIME_SECOND",
    ]


def test_defaults_are_filled_in_and_not_shared():
    def f(A: list = []): ...  # noqa: B006

    f.__annotations__["A"] = list[int]
    first = check(program(f), {})
    first["A"].append(1)
    assert check(program(f), {}) == {"A": []}
    assert check(mixed, {"URL": "u", "COUNT": 1})["SLEEP_TIME_SECOND"] == 1.5


def test_a_default_may_come_from_field():
    def f(A: Annotated[int, Field(default=7)]): ...

    assert check(program(f), {}) == {"A": 7}


def test_extra_parameters_pass_where_the_signature_says_so():
    def loose(call: Call, A: int, **extra): ...
    def typed(A: int, **extra: int): ...

    assert check(program(loose), {"A": "1", "B": "2"}) == {"A": 1, "B": "2"}
    assert check(program(typed), {"A": "1", "B": "2"}) == {"A": 1, "B": 2}
    with pytest.raises(ParameterError, match="B: expected a valid integer"):
        check(program(typed), {"B": "x", "A": 1})
    with pytest.raises(ParameterError, match="call: a name kept"):
        check(program(loose), {"A": 1, "call": "2"})


@pytest.mark.parametrize("name", ["json", "copy", "model_config", "model_dump", "schema", "_private", "p0", "p1"])
def test_any_name_may_be_used(name):
    namespace: dict[str, Any] = {}
    exec(f"def f(A: int, {name}: int, **extra): ...", namespace)  # noqa: S102 - the names are above
    assert check(program(namespace["f"]), {"A": 1, name: "2", "p7": 3}) == {"A": 1, name: 2, "p7": 3}


def leaks(function: Callable[..., Any], raw: dict[str, Any]) -> str:
    with pytest.raises(ParameterError) as caught:
        check(program("p")(function), raw)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)


def quote(token: SecretStr) -> SecretStr:
    raise ValueError(f"{token.get_secret_value()} is too weak")


def test_a_secret_is_never_shown():
    def plain(TOKEN: Annotated[SecretStr, Field(min_length=50)], N: int): ...
    def maybe(TOKEN: Annotated[SecretStr, Field(min_length=50)] | None): ...
    def nested(LOGIN: Login): ...
    def listed(LOGINS: list[Login]): ...
    def quoted(TOKEN: Annotated[SecretStr, AfterValidator(quote)]): ...
    def extra(**more: int): ...

    for function, raw in [
        (plain, {"TOKEN": "hunter2", "N": "x"}),
        (plain, {"TOKEN": ["hunter2"], "N": 1}),
        (plain, {"TOEKN": "hunter2"}),
        (maybe, {"TOKEN": "hunter2"}),
        (nested, {"LOGIN": {"password": "hunter2"}}),
        (nested, {"LOGIN": '{"user": "u", "password": hunter2'}),
        (nested, {"LOGIN": "hunter2"}),
        (listed, {"LOGINS": [{"user": ["hunter2"], "password": "hunter2"}]}),
        (quoted, {"TOKEN": "hunter2"}),
        (extra, {"PASSWORD": "hunter2"}),
    ]:
        assert "hunter2" not in leaks(function, raw)


def test_values_are_shown_shortened():
    with pytest.raises(ParameterError) as caught:
        checked(int, "9" * 10_000 + "x")
    assert len(str(caught.value)) < 300


def test_the_schema_says_what_the_signature_says():
    def f(
        call: Call,
        A: Annotated[float, Field(ge=0, description="how much")],
        B: Literal["x", "y"] = "x",
        C: SecretStr | None = None,
        D: timedelta = timedelta(seconds=3),
    ):
        """Does f.

        At length.
        """

    assert json_schema(program("F")(f)) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "F",
        "description": "Does f.",
        "type": "object",
        "additionalProperties": False,
        "required": ["A"],
        "properties": {
            "A": {"type": "number", "minimum": 0, "description": "how much"},
            "B": {"type": "string", "enum": ["x", "y"], "default": "x"},
            "C": {
                "anyOf": [{"type": "string", "format": "password", "writeOnly": True}, {"type": "null"}],
                "default": None,
            },
            "D": {"type": "string", "format": "duration", "default": "PT3S"},
        },
    }


@pytest.mark.parametrize("builtin", penstock_programs(), ids=lambda p: p.name)
def test_the_schemas_of_the_built_in_programs_are_valid(builtin):
    schema = json_schema(builtin)
    Draft202012Validator.check_schema(schema)
    assert schema["description"]


def no_annotation(A): ...
def star(*A: int): ...
def positional(A: int, /): ...
def wrong_default(A: int = "x"): ...
def none_default(A: int = None): ...  # noqa: RUF013
def unserialisable_default(A: object = object()): ...
def unknown_type(A: "Missing"): ...  # noqa: F821
def function_type(A: Callable[[], int]): ...
def call_second(A: int, c: Call): ...
def aliased(A: Annotated[int, Field(alias="B")]): ...


@pytest.mark.parametrize(
    "function, message",
    [
        (no_annotation, "A has no type"),
        (star, r"\*A"),
        (positional, "A is positional-only"),
        (wrong_default, "default does not fit its own type: A$"),
        (none_default, "default does not fit its own type: A$"),
        (unserialisable_default, "not JSON serializable"),
        (unknown_type, "Missing"),
        (function_type, "no schema"),
        (call_second, "must be the first"),
        (aliased, "alias"),
    ],
)
def test_signatures_without_a_schema_are_refused(function, message):
    with pytest.raises(SignatureError, match=message):
        json_schema(program(function))


def test_a_program_class_must_take_the_call():
    class Careless(Program):
        name = "Careless"

        def run(self, X: int):
            return Finish(X)

    with pytest.raises(SignatureError, match="must take the call first"):
        json_schema(Careless())


def test_postponed_annotations_are_read(tmp_path):
    source = """
from __future__ import annotations
from programs.contract import Call, Program, program
from programs.parameters import check

@program
def f(c: Call, X: int): return X

class P(Program):
    name = "P"
    def run(self, c: Call, X: int): return X

print(check(f, {"X": "1"}), check(P(), {"X": "2"}))
"""
    (tmp_path / "later.py").write_text(source)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "later.py")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        check=False,
    )
    assert done.stdout == "{'X': 1} {'X': 2}\n", done.stderr


def test_a_program_without_parameters_refuses_any() -> None:
    def bare() -> None: ...

    def open_to_all(**extra: Any) -> None: ...

    assert check(program(bare), {}) == {}
    assert check(program(open_to_all), {"A": 1}) == {"A": 1}
    with pytest.raises(ParameterError, match="A"):
        check(program(bare), {"A": 1})
