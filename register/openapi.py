"""The service described in OpenAPI 3.1, from the same table and models that serve it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from engine.flows import MAX_ID
from register import problems
from register.endpoints import Endpoint
from register.models import Problem
from register.problems import Kind

_SEQ = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
EVERYWHERE = (problems.WRONG_METHOD, problems.INTERNAL, problems.TIMED_OUT, problems.STOPPING)
GUARDED = (
    problems.UNAUTHENTICATED,
    problems.TWO_CREDENTIALS,
    problems.FORBIDDEN,
    problems.WRONG_HOST,
    problems.TOO_MANY_REQUESTS,
    *problems.DATABASE,
)
"""What the gate before a path may answer; the database is asked whose token it is."""
SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "pst_..., made by `penstock token create`"},
    "session": {"type": "apiKey", "in": "cookie", "name": "penstock_session", "description": "of POST /api/v1/session"},
}


def describe(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The whole document. `version` is the version of the release."""
    models = {model for one in endpoints for model in _models(one)} | {Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    assert len({model.__name__ for model in ordered}) == len(ordered), "two models share a name"
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock register", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": _paths(endpoints),
        "components": {"schemas": schemas["$defs"], "securitySchemes": SECURITY},
    }


def _paths(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for one in endpoints:
        paths.setdefault(one.template, {})[one.method.lower()] = _operation(one)
    return paths


def _models(one: Endpoint) -> list[type[BaseModel]]:
    many = (one.many.takes, one.many.line, one.many.answers) if one.many is not None else ()
    return [model for model in (one.answers, one.takes, *many) if model is not None]


def _operation(one: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": one.name or one.run.__name__,
        "summary": one.summary,
        "x-role": one.role,
        "parameters": [*_in_path(one), *_in_query(one), *_in_headers(one)],
        "responses": {"200": _good(one), **_mixed(one), **_bad(_problems(one))},
        "security": [] if one.role is None else [{"token": []}, {"session": []}],
    }
    if one.takes is not None:
        needed = one.many is None and any(field.is_required() for field in one.takes.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": _taken(one, one.takes)}
    return operation


def _problems(one: Endpoint) -> list[Kind]:
    gate: tuple[Kind, ...] = GUARDED if one.role is not None else ()
    if one.method != "GET":
        gate += (problems.CROSS_SITE,) if one.role is not None else (problems.TOO_MANY_REQUESTS,)
    return list(dict.fromkeys((*one.problems, *gate, *EVERYWHERE)))


def _taken(one: Endpoint, takes: type[BaseModel]) -> dict[str, Any]:
    if one.many is None:
        return {"application/json": {"schema": _ref(takes)}}
    either = {"oneOf": [_ref(takes), _ref(one.many.takes)]}
    return {"application/json": {"schema": either}, "application/x-ndjson": {"schema": _ref(one.many.line)}}


def _mixed(one: Endpoint) -> dict[str, Any]:
    """The answer to a request of which a part was refused."""
    if one.many is None:
        return {}
    content = {"application/json": {"schema": _ref(one.many.answers)}}
    return {"207": {"description": "Some of them were made, and others refused", "content": content}}


def _in_path(one: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
    return [
        {"name": name, "in": "path", "required": True, "schema": _SEQ if name == "seq" else text}
        for name in one.parameters
    ]


def _in_query(one: Endpoint) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    schemas = one.query.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": _given(it)} for name, it in schemas.items()]


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that may be left out, but is no null when it is there."""
    if "anyOf" not in schema:
        return schema
    [kind] = [one for one in schema["anyOf"] if one != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**kind, **rest}


def _in_headers(one: Endpoint) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "required": False, "schema": it} for name, it in one.headers.items()]


def _good(one: Endpoint) -> dict[str, Any]:
    schema: dict[str, Any] = _ref(one.answers) if one.answers is not None else {}
    if one.many is not None:
        schema = {"oneOf": [schema, _ref(one.many.answers)]}
    media = "*/*" if one.method == "POST" and one.answers is None else one.media
    headers = {
        name: {"description": about, "schema": {"type": "string"}, "required": False}
        for name, about in one.answer_headers.items()
    }
    return {"description": one.summary, "headers": headers, "content": {media: {"schema": schema}}}


def _bad(kinds: Sequence[Kind]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for code in sorted({kind.code for kind in kinds}):
        names = [f"`{problems.URN}{kind.name}`" for kind in kinds if kind.code == code]
        responses[str(code)] = {
            "description": f"{HTTPStatus(code).phrase}: {', '.join(names)}",
            "headers": _headers_with(code),
            "content": {"application/problem+json": {"schema": _ref(Problem)}},
        }
    return responses


def _headers_with(code: int) -> dict[str, Any]:
    name = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}.get(code)
    return {name: {"schema": {"type": "string"}, "required": True}} if name else {}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
