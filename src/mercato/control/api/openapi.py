"""The table of routes as OpenAPI 3.1 and as a page for people; nothing is described twice."""

import html
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from mercato import __version__
from mercato.control.api.call import Nothing
from mercato.control.api.errors import ErrorBody
from mercato.control.api.route import SAFE, Route
from mercato.market.access import Permission

_IN_PATH = re.compile(r"{(\w+)}")
_REF: Final = "#/components/schemas/{name}"


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole API as an OpenAPI 3.1 document."""
    kinds = _kinds(routes)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    names = Counter(route.name for route in routes)
    for route in routes:
        operation = _operation(route, by_kind, components, unique=names[route.name] == 1)
        paths.setdefault(_shown(route.path), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mercato",
            "version": __version__,
            "description": "A GPU marketplace that anyone can run. Paths may end with a slash or"
            " not. Money is in dollars, times are seconds since the epoch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "keyInQuery": {"type": "apiKey", "in": "query", "name": "api_key"},
            },
        },
    }


def encoded(routes: Sequence[Route]) -> bytes:
    """The document as it is served and checked in."""
    return msgspec.json.format(msgspec.json.encode(describe(routes)), indent=1) + b"\n"


def _shown(path: str) -> str:
    return path if path == "/" or "." in path.rsplit("/", 1)[-1] else f"{path}/"


def _kinds(routes: Sequence[Route]) -> list[Any]:
    kinds: dict[str, Any] = {repr(ErrorBody): ErrorBody}
    for route in routes:
        for kind in (route.takes, route.gives):
            if _is_described(kind) and (kind is route.gives or _is_struct(kind)):
                kinds[repr(kind)] = kind
    return list(kinds.values())


def _is_described(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, Response):
        return False
    return kind not in {Nothing, type(None), bytes}


def _operation(
    route: Route, schemas: dict[str, Any], components: dict[str, Any], *, unique: bool
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name if unique else _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "x-permission": route.permission.value,
        "responses": {
            "200": _answer(route, schemas),
            "default": {
                "description": "A refusal, which says what was wrong and what to do.",
                "content": _json(schemas[repr(ErrorBody)]),
            },
        },
    }
    if route.permission is Permission.PUBLIC:
        operation["security"] = []
    else:
        operation["security"] = [{"key": []}, {"keyInQuery": []}]
    operation |= _arguments(route, components)
    return operation


def _operation_id(route: Route) -> str:
    parts = [part.strip("{}") for part in route.path.replace(".", "_").split("/") if part]
    return "_".join([route.method.lower(), *parts])


def _tag(route: Route) -> str:
    return route.handle.__module__.rpartition(".")[2]


def _answer(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if not _is_described(route.gives):
        return {"description": "As the summary says."}
    return {"description": "Done.", "content": _json(schemas[repr(route.gives)])}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _arguments(route: Route, components: dict[str, Any]) -> dict[str, Any]:
    """Where each argument is read from: path, then query on GET, body otherwise."""
    in_path = _IN_PATH.findall(route.path)
    properties: dict[str, Any] = {}
    required: list[str] = []
    if not _is_struct(route.takes):
        return {"requestBody": {"required": False, "content": _json({"type": "object"})}}
    if route.takes is not Nothing:
        own = components[route.takes.__name__]
        properties, required = dict(own.get("properties", {})), list(own.get("required", []))
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": properties.pop(name, {"type": "string"}),
        }
        for name in in_path
    ]
    required = [name for name in required if name not in in_path]
    if route.method in SAFE:
        parameters += [
            _in_query(name, schema, required=name in required)
            for name, schema in properties.items()
        ]
        return {"parameters": parameters} if parameters else {}
    described: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if properties:
        body: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            body["required"] = required
        described["requestBody"] = {"required": bool(required), "content": _json(body)}
    return described


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _in_query(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Objects and lists travel in a query as JSON text."""
    about: dict[str, Any] = {"name": name, "in": "query", "required": required}
    kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
    if kinds & {"object", "array"} or "$ref" in schema:
        return about | {"content": _json(schema)}
    return about | {"schema": schema}


PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mercato API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
code {{ font: 0.9em ui-monospace, monospace; }}
details {{ border-top: 1px solid #8884; padding: .4rem 0; }}
summary {{ cursor: pointer; }} summary b {{ display: inline-block; width: 5rem; }}
small {{ opacity: .7; }} table {{ border-collapse: collapse; margin: .5rem 0 .5rem 5rem; }}
td {{ padding: .1rem 1rem .1rem 0; vertical-align: top; }}
</style></head><body>
<h1>Mercato API</h1>
<p>Send a key as <code>Authorization: Bearer KEY</code>. Paths may end with a slash or not.
Money is in dollars, times are seconds since the epoch. Every error is
<code>{{"success": false, "error": CODE, "msg": TEXT}}</code>. A change may carry an
<code>Idempotency-Key</code>: repeated, it is made once.
The same as data: <a href="/openapi.json">OpenAPI 3.1</a>.</p>
{sections}
</body></html>
"""


def page(routes: Sequence[Route]) -> str:
    """The API for people, in one page that needs nothing else."""
    tags: dict[str, list[Route]] = {}
    for route in routes:
        tags.setdefault(_tag(route), []).append(route)
    sections = [
        f"<h2>{html.escape(tag)}</h2>\n{''.join(map(_section, some))}" for tag, some in tags.items()
    ]
    return PAGE.format(sections="\n".join(sections))


def _section(route: Route) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(field.encode_name)}</code></td>"
        f"<td><small>{html.escape(_kind(field.type))}</small></td></tr>"
        for field in (msgspec.structs.fields(route.takes) if _is_struct(route.takes) else ())
    )
    return (
        f"<details><summary><b>{route.method}</b> <code>{html.escape(_shown(route.path))}</code>"
        f" {html.escape(route.summary)} <small>({route.permission.value})</small></summary>"
        f"<table>{rows}</table></details>\n"
    )


def _kind(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) else str(kind)
    return text.replace("typing.", "").replace("NoneType", "null").replace("None", "null")
