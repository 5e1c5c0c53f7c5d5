"""Paths: from text to a route, in time that does not depend on how many routes there are."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mercato.control.api.route import Route
from mercato.market import errors

_SLASHES = re.compile("/{2,}")

DIGITS_MAX: Final = 18
"""More, and an id is none that the database could hold."""

Methods = Mapping[str, Route]


def normalised(path: str) -> str:
    """A path with single slashes and none at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


class Paths:
    """The routes by path: fixed paths by a dictionary, the others by their number of parts."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Index `routes`; two with one path and method are a mistake."""
        by_path: dict[str, dict[str, Route]] = defaultdict(dict)
        for route in routes:
            methods = by_path[route.path]
            assert route.method not in methods, f"{route.method} {route.path} stands twice"
            methods[route.method] = route
        self._fixed: dict[str, Methods] = {}
        self._varying: dict[int, list[tuple[tuple[str, ...], Methods]]] = defaultdict(list)
        for path, methods in by_path.items():
            if "{" not in path:
                self._fixed[path] = methods
            else:
                parts = tuple(path.split("/"))
                self._varying[len(parts)].append((parts, methods))

    def find(self, path: str) -> tuple[Methods | None, Mapping[str, Any]]:
        """The methods of a path and its variable parts; None when nothing has it."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        given = path.split("/")
        for parts, methods in self._varying.get(len(given), ()):
            found = _matches(parts, given)
            if found is not None:
                return methods, {name: _typed(name, value) for name, value in found.items()}
        return None, {}


def _matches(parts: tuple[str, ...], given: Sequence[str]) -> dict[str, str] | None:
    found = {}
    for part, text in zip(parts, given, strict=True):
        if part.startswith("{"):
            found[part[1:-1]] = text
        elif part != text:
            return None
    return found


def _typed(name: str, value: str) -> int | str:
    """Ids are numbers, names are text."""
    if name != "id" and not name.endswith("_id"):
        return value
    if not (value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX):
        raise errors.InvalidRequest(f"{name} in the path must be a number and not {value[:80]!r}.")
    return int(value)
