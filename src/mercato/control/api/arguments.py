"""Arguments of a request: path, query and body as one, turned into a route's struct."""

import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from mercato.control.api.errors import explain
from mercato.market import errors

LARGEST: Final = 1e15

DEPTH_MAX: Final = 100
"""So many lists and objects may be in one another: what is asked is still to be walked through,
last of all after it was done, for the audit log."""
TOO_DEEP: Final = f"Lists and objects may be in one another at most {DEPTH_MAX} deep."


def merged(
    path: Mapping[str, Any],
    query: Mapping[str, str],
    body: Any,
    takes: Any,
) -> dict[str, Any]:
    """All arguments of a request by name.

    Clients put some arguments in the query of a POST and some in the body of a GET; both are read
    everywhere. The body wins over the query and the path over both.

    Raises:
        InvalidRequest: when lists and objects are in one another, too many deep.
    """
    texts = _text_fields(takes)
    arguments: dict[str, Any] = {
        name: value if name in texts else _value(value) for name, value in query.items()
    }
    if isinstance(body, dict):
        arguments.update(body)
    arguments.update(path)
    arguments.pop("api_key", None)
    if _is_too_deep(arguments):
        raise errors.InvalidRequest(TOO_DEEP)
    return arguments


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def read(takes: Any, arguments: Mapping[str, Any]) -> Any:
    """The arguments as the route's struct; numbers may have come as text.

    Raises:
        InvalidRequest: naming the argument and what it should be.
    """
    try:
        asked = msgspec.convert(arguments, takes, strict=False)
    except msgspec.ValidationError as problem:
        raise errors.InvalidRequest(explain(problem, _fields(takes))) from None
    for name in _fields(takes):
        if _is_boundless(getattr(asked, name, None)):
            raise errors.InvalidRequest(f"{name}: {arguments[name]} is no number to reckon with.")
    return asked


def _is_boundless(value: Any) -> bool:
    """Whether it is infinite, no number at all, or so large that no unit makes sense of it."""
    return isinstance(value, float) and not abs(value) <= LARGEST


def _value(text: str) -> Any:
    """A query value: JSON where it is JSON (`true`, `null`, `20089.0`, an object), else text."""
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(word: str) -> None:
    """Python's reader takes NaN and Infinity, which are not JSON."""
    raise ValueError(word)


@cache
def _fields(takes: Any) -> dict[str, Any]:
    if not (isinstance(takes, type) and issubclass(takes, msgspec.Struct)):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(takes)}


@cache
def _text_fields(takes: Any) -> frozenset[str]:
    """Arguments that are text: `123` in a query is then a label, not a number."""
    return frozenset(name for name, kind in _fields(takes).items() if _is_text(kind))


def _is_text(kind: Any) -> bool:
    if kind is str:
        return True
    if get_origin(kind) in {Union, types.UnionType}:
        return set(get_args(kind)) <= {str, types.NoneType}
    if get_origin(kind) is typing.Annotated:
        return _is_text(get_args(kind)[0])
    return False
