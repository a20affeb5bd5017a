"""From the signature of `run` to a parameter schema, and from raw parameters to checked ones.

Coercion is lax, because the parameters of a task definition are text: "3" is a number where a number is expected.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaError

from programs.complaints import complaints
from programs.contract import Call, FunctionProgram, Program, takes_call
from programs.errors import ParameterError, SignatureError
from programs.reading import readable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title that only repeats the name is noise in a form

    def emit_warning(self, kind: Any, detail: str) -> None:
        raise SignatureError(detail)  # a default that JSON cannot hold, for one


@dataclass(frozen=True)
class ParameterModel:
    """The parameters of one function, as a pydantic model.

    Its fields are called p0, p1 ... and aliased, because a parameter may well be called `json` or `copy`, which would
    shadow pydantic's own attributes.
    """

    model: type[BaseModel]
    fields: Mapping[str, str]  # parameter -> field
    reserved: frozenset[str]  # `self` and the call: names that `**extra` cannot carry
    schema: Mapping[str, Any]

    @property
    def takes_nothing(self) -> bool:
        """Has it no parameters at all, so that there is nothing to check or to fill in where none is given?"""
        return not self.fields and self.model.model_config["extra"] == "forbid"


def json_schema(program: Program) -> dict[str, Any]:
    """The program's parameters as JSON Schema 2020-12: types, defaults, descriptions, `required`.

    Raises SignatureError, like everything here, where the signature gives none.
    """
    head = {"$schema": DIALECT, "title": program.name, "description": program.description}
    return head | dict(parameter_model(program).schema)


def check(program: Program, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as `run` wants them, defaults filled in; ParameterError names all that do not fit."""
    fit = parameter_model(program)
    if not raw and fit.takes_nothing:
        return {}
    try:
        checked = fit.model.model_validate(dict(raw))
        problems = [f"{name}: a name kept for the call itself" for name in raw if name in fit.reserved]
    except ValidationError as error:
        problems = complaints(error, fit.schema)
    if problems:  # raised outside the `except`, so that no chain of exceptions leads back to the values
        raise ParameterError(program.name, problems)
    return {name: getattr(checked, field) for name, field in fit.fields.items()} | (checked.model_extra or {})


def parameter_model(program: Program) -> ParameterModel:
    """The model of a program's parameters, made on first use and kept."""
    return _model_of(program.function, not isinstance(program, FunctionProgram))


@cache
def _model_of(function: Callable[..., Any], method: bool) -> ParameterModel:
    leading, rest = _split(_signature(function), method)
    extra = next((p for p in rest if p.kind is p.VAR_KEYWORD), None)
    named = [_usable(p) for p in rest if p is not extra]
    fields = {p.name: f"p{i}" for i, p in enumerate(named)}
    try:
        model = _model({fields[p.name]: (readable(p.annotation), _field(p)) for p in named}, extra)
        schema = model.model_json_schema(schema_generator=_Schema)
    except (PydanticUserError, SchemaError, TypeError, NameError) as error:
        raise SignatureError(f"a parameter has a type that no schema can be made of: {error}") from error
    del schema["title"]
    _refuse_defaults(model, fields)
    reserved = frozenset(p.name for p in leading if p.kind is not p.POSITIONAL_ONLY)
    return ParameterModel(model, fields, reserved, schema)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise SignatureError(f"an annotation cannot be read: {error}") from error


def _split(signature: inspect.Signature, method: bool) -> tuple[list[inspect.Parameter], list[inspect.Parameter]]:
    """What is passed by position (`self`, the call), and the parameters proper."""
    every = list(signature.parameters.values())
    own = int(method)
    if takes_call(signature.replace(parameters=every[own:])):
        return every[: own + 1], every[own + 1 :]
    if method:
        raise SignatureError("`run` must take the call first: def run(self, call: Call, ...)")
    return [], every


def _usable(parameter: inspect.Parameter) -> inspect.Parameter:
    name = parameter.name
    if parameter.kind is parameter.VAR_POSITIONAL:
        raise SignatureError(f"*{name} cannot be filled: parameters are given by name")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise SignatureError(f"{name} is positional-only, but parameters are given by name: remove the `/`")
    if parameter.annotation is parameter.empty:
        raise SignatureError(f"{name} has no type: write {name}: str, or what else it is")
    if parameter.annotation is Call:
        raise SignatureError(f"the call must be the first parameter, and {name} is not")
    if any(isinstance(m, FieldInfo) and m.alias for m in getattr(parameter.annotation, "__metadata__", ())):
        raise SignatureError(f"{name} has an alias: give the parameter itself the name it goes by")
    return parameter


def _field(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return Field(alias=parameter.name)
    return Field(parameter.default, alias=parameter.name)


def _model(fields: dict[str, Any], extra: inspect.Parameter | None) -> type[BaseModel]:
    settings = ConfigDict(
        extra="allow" if extra else "forbid",
        allow_inf_nan=False,  # JSON cannot hold them, nor can every database
        hide_input_in_errors=True,  # an error printed by accident must not print a secret
        validate_default=True,
    )
    if extra and extra.annotation is not extra.empty:
        fields["__pydantic_extra__"] = (dict[str, extra.annotation], ...)  # type: ignore[name-defined]
    return create_model("Parameters", __config__=settings, **fields)


def _refuse_defaults(model: type[BaseModel], fields: Mapping[str, str]) -> None:
    try:
        model.model_validate({})
    except ValidationError as error:
        wrong = {e["loc"][0] for e in error.errors() if e["type"] != "missing"}
        names = ", ".join(name for name, field in fields.items() if field in wrong)
        if names:
            raise SignatureError(f"a default does not fit its own type: {names}") from error
