"""The text query language, turned into the query object that the server takes.

`gpu_name=RTX_4090 num_gpus>=2 geolocation in [US,CA]` becomes
`{"gpu_name": {"eq": "RTX 4090"}, "num_gpus": {"gte": "2"}, "geolocation": {"in": ["US", "CA"]}}`.
Numbers stay text: the server knows each field's type.
"""

import re
from typing import Any, Final

from mercato.sdk.errors import BadQuery

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
}
"""Filters that hold unless the query names their field."""

_OPERATORS: Final = {
    "=": "eq",
    "==": "eq",
    "eq": "eq",
    "!=": "neq",
    "neq": "neq",
    "noteq": "neq",
    "not eq": "neq",
    ">": "gt",
    "gt": "gt",
    ">=": "gte",
    "gte": "gte",
    "<": "lt",
    "lt": "lt",
    "<=": "lte",
    "lte": "lte",
    "in": "in",
    "nin": "notin",
    "notin": "notin",
    "not in": "notin",
}
_ALIASES: Final = {
    "cuda_vers": "cuda_max_good",
    "display_active": "gpu_display_active",
    "dlperf_usd": "dlperf_per_dphtotal",
    "dph": "dph_total",
    "flops_usd": "flops_per_dphtotal",
}
_UNITS: Final = {"cpu_ram": 1_000, "gpu_ram": 1_000, "gpu_total_ram": 1_000, "duration": 86_400}
"""Fields that people give in gigabytes or days and the server keeps in megabytes or seconds."""

_WILD: Final = frozenset({"any", "*", "?"})
_CONSTANTS: Final[dict[str, bool | None]] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "None": None,
    "null": None,
}
_COMPARISON: Final = re.compile(
    r"\s*([A-Za-z0-9_]+)"
    r"(?:\s*(==|!=|>=|<=|=|>|<)|\s+(not eq|not in|noteq|notin|neq|nin|eq|gte|gt|lte|lt|in)\b)"
    r'\s*(\[[^\]]*\]|"[^"]*"|[^\s=<>!][^\s]*)'
)


def parse(text: str, *, defaults: bool = True) -> dict[str, dict[str, Any]]:
    """Turn query text into a query object, over the default filters unless told not to.

    Raises:
        BadQuery: when a part of the text is no comparison; the message shows where.
    """
    query: dict[str, dict[str, Any]] = {}
    wild: set[str] = set()
    position = 0
    text = text.strip()
    while position < len(text):
        found = _COMPARISON.match(text, position)
        if found is None:
            raise BadQuery(
                f"cannot understand {text[position:].strip()!r}: write comparisons such as "
                "gpu_name=RTX_4090 num_gpus>=2",
                code="invalid_request",
            )
        position = found.end()
        name = _ALIASES.get(found[1], found[1])
        operator = _OPERATORS[found[2] or found[3]]
        value = found[4]
        if value in _WILD:
            if operator != "eq":
                raise BadQuery(f"{name}: {value!r} goes with = only", code="invalid_request")
            wild.add(name)
            continue
        query.setdefault(name, {})[operator] = _value(name, operator, value)
    base = DEFAULTS if defaults else {}
    kept = {field: dict(test) for field, test in base.items() if field not in wild | query.keys()}
    return kept | query


def order(text: str) -> list[list[str]]:
    """Turn `dph,score-` into `[["dph_total", "asc"], ["score", "desc"]]`."""
    return [_rank(part) for part in text.split(",") if part.strip("+- ")]


def _rank(part: str) -> list[str]:
    part = part.strip()
    name = part.strip("+-")
    return [_ALIASES.get(name, name), "desc" if "-" in {part[0], part[-1]} else "asc"]


def _value(name: str, operator: str, text: str) -> Any:
    if operator in {"in", "notin"}:
        return [_scalar(name, part.strip()) for part in text.strip("[]").split(",") if part.strip()]
    return _scalar(name, text.strip(",[]"))


def _scalar(name: str, text: str) -> Any:
    bare = text.strip('"')
    if name in _UNITS:
        try:
            return float(bare) * _UNITS[name]
        except ValueError as error:
            raise BadQuery(f"{name}: {bare!r} is not a number", code="invalid_request") from error
    if name == "driver_version" and "." in bare:
        return _driver(bare)
    if bare in _CONSTANTS:
        return _CONSTANTS[bare]
    return bare.replace("_", " ")


def _driver(text: str) -> int:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise BadQuery(
            f"driver_version: {text!r} is not of the form 535.86.05", code="invalid_request"
        )
    major, minor, patch = (int(part) for part in parts)
    return major * 1_000_000 + minor * 1_000 + patch
