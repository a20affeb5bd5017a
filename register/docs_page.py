"""The description of the API as a page for people, made of the OpenAPI document, with nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
section { border-top: 1px solid var(--line); padding: .8rem 0; }
section h3 { font-size: 1rem; margin: 0; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 4.5rem; }
p { margin: .3rem 0; } pre { background: var(--soft); padding: .6rem; overflow-x: auto; border-radius: 4px; }
table { border-collapse: collapse; margin: .4rem 0; font-size: .9rem; }
td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; }
nav a { margin-right: .8rem; } summary { cursor: pointer; }
"""
_GROUPS: Final = {
    "flows": "Flows and tasks",
    "workflows": "Workflows",
    "waits": "What is awaited",
    "messages": "What is awaited",
    "call_back": "What is awaited",
    "queues": "Queues and limits",
    "limits": "Queues and limits",
    "watchers": "Watchers",
    "workers": "Remote workers",
    "events": "What happened",
    "commands": "What happened",
    "stats": "Figures",
    "tokens": "Who may ask",
    "session": "Who may ask",
}
_REST: Final = "Everything else"
_FIRST: Final = "Without a version"


def page(document: Mapping[str, Any]) -> str:
    """The whole page as HTML."""
    groups: dict[str, list[str]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            groups.setdefault(_group(path), []).append("".join(_operation(document, verb, path, operation)))
    info = document["info"]
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in groups)
    parts = "".join(f'<h2 id="{_anchor(name)}">{escape(name)}</h2>{"".join(items)}' for name, items in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escape(info["title"])}</title><link rel="stylesheet" href="docs.css"></head><body>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. A good answer is JSON; a problem is '
        "<code>application/problem+json</code> with a stable <code>type</code>.</p>"
        f"<nav>{links}</nav>{parts}</body></html>"
    )


def _group(path: str) -> str:
    if not path.startswith("/api/v1/"):
        return _FIRST
    return _GROUPS.get(path.split("/")[3], _REST)


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _operation(document: Mapping[str, Any], verb: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}"><h3><b>{verb.upper()}</b> {escape(path)}</h3>'
    yield f"<p>{escape(operation['summary'])}"
    if role := operation.get("x-role"):
        yield f" · role {escape(role)}"
    yield "</p>"
    rows = [_row(one["name"], one["in"], one["schema"]) for one in operation["parameters"]]
    schema = _body_schema(document, operation)
    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        rows.append(_row(name, "body, required" if name in required else "body", part))
    if rows:
        yield f"<table>{''.join(rows)}</table>"
    yield f"<pre>{escape(_curl(verb, path, schema))}</pre>"
    problems = [f"{code}: {answer['description']}" for code, answer in operation["responses"].items() if code >= "4"]
    yield f"<details><summary>Problems</summary>{''.join(f'<p>{escape(words)}</p>' for words in problems)}</details>"
    yield "</section>"


def _row(name: str, where: str, schema: Mapping[str, Any]) -> str:
    about = schema.get("description", "")
    return f"<tr><td>{escape(name)}</td><td>{escape(where)}</td><td>{escape(about)}</td></tr>"


def _body_schema(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    first = content.get("oneOf", [content])[0]
    if "$ref" not in first:
        return {}
    schema: Mapping[str, Any] = document["components"]["schemas"][first["$ref"].rpartition("/")[2]]
    return schema


def _curl(verb: str, path: str, schema: Mapping[str, Any]) -> str:
    address = path.replace("{", "$").replace("}", "").upper().replace("/API/V1", "/api/v1")
    for part in path.split("/"):
        if part and not part.startswith("{"):
            address = address.replace(f"/{part.upper()}", f"/{part}")
    line = f"curl -X {verb.upper()} localhost:8000{address}" if verb != "get" else f"curl localhost:8000{address}"
    told = {name: _example(schema["properties"][name]) for name in schema.get("required", [])}
    return f"{line} --json '{json.dumps(told)}'" if told else line


def _example(schema: Mapping[str, Any]) -> Any:
    kinds: dict[str, Any] = {"string": "...", "integer": 1, "number": 1.0, "boolean": True, "array": [1], "object": {}}
    return kinds.get(str(schema.get("type")), None if "$ref" not in schema else {})
