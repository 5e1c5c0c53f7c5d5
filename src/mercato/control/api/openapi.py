"""The table of routes as OpenAPI 3.1; nothing is described twice."""

import re
import sys
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
        paths.setdefault(shown(route.path), {})[route.method.lower()] = operation
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
        "tags": [{"name": name, "description": about} for name, about in groups(routes).items()],
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


def shown(path: str) -> str:
    """A path as it is described: with the slash at its end that clients write."""
    return path if path == "/" or "." in path.rsplit("/", 1)[-1] else f"{path}/"


def _kinds(routes: Sequence[Route]) -> list[Any]:
    kinds: dict[str, Any] = {repr(ErrorBody): ErrorBody}
    for route in routes:
        for kind in (route.takes, route.gives):
            if _is_described(kind) and (kind is route.gives or is_struct(kind)):
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
        "description": _who(route.permission),
        "tags": [group_of(route)],
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


def group_of(route: Route) -> str:
    """The group in which a route is described: the module that serves it."""
    return route.handle.__module__.rpartition(".")[2]


def groups(routes: Sequence[Route]) -> dict[str, str]:
    """Every group and what it is about, which its module says first."""
    return {
        group_of(route): (sys.modules[route.handle.__module__].__doc__ or "").strip().split("\n")[0]
        for route in routes
    }


def _who(permission: Permission) -> str:
    match permission:
        case Permission.PUBLIC:
            return "Open to everybody."
        case Permission.OPERATOR:
            return "Needs a full key of an operator of this market."
        case _:
            return f"Needs a key with the permission `{permission.value}`."


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
    if not is_struct(route.takes):
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


def is_struct(kind: Any) -> bool:
    """Whether a type is one of our structs."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _in_query(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Objects and lists travel in a query as JSON text."""
    about: dict[str, Any] = {"name": name, "in": "query", "required": required}
    kinds = {one.get("type") for one in schema.get("anyOf", [schema])}
    if kinds & {"object", "array"} or "$ref" in schema:
        return about | {"content": _json(schema)}
    return about | {"schema": schema}
