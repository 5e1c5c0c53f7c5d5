"""The query language: JSON objects and one-line texts become predicates over a schema's columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mercato.catalog.schema import Column, Kind, Schema
from mercato.market.errors import InvalidQuery

DEFAULT_LIMIT: Final = 64
LARGEST_LIMIT: Final = 10_000
DEFAULT_STORAGE_GB: Final = 8.0
KNOWN_MAX: Final = 1_024
KNOWN_WORDS_MAX: Final = 4_096
"""So many queries, each written in so many letters at most, are remembered."""
OPERATORS: Final = frozenset({"eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"})
ANY: Final = frozenset({"any", "*", "?"})
RENTALS: Final = {
    "on-demand": "on-demand",
    "ondemand": "on-demand",
    "reserved": "reserved",
    "bid": "bid",
    "interruptible": "bid",
}
_SPELLINGS: Final = {
    "=": "eq", "==": "eq", "!=": "neq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
    "noteq": "neq", "not eq": "neq", "nin": "notin", "not in": "notin",
}  # fmt: skip
_SIGNS: Final = {"eq": "=", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_COMPARISON: Final = re.compile(
    r"\s*(?P<field>[A-Za-z0-9_]+)"
    r"(?:\s*(?P<sign>==|!=|>=|<=|=|>|<)"
    r"|\s+(?P<word>not\s+eq|not\s+in|noteq|notin|neq|nin|gte|lte|eq|gt|lt|in)(?=[\s\[\"]))"
    r"\s*(?P<value>\[[^\]]*\]|\"[^\"]*\"|[^\s\[\"]\S*)(?=\s|$)"
)
Scalar = float | str | None


@dataclass(frozen=True)
class Predicate:
    """One comparison: a column, an operator, and a value (a tuple for `in` and `notin`)."""

    column: Column
    operator: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, eq=False)
class Query:
    """A search that was understood; every predicate must hold. It is equal to itself alone.

    `order` names columns with whether they descend; `storage_gb` is the disk to price.
    """

    predicates: tuple[Predicate, ...]
    order: tuple[tuple[Column, bool], ...]
    limit: int
    rental: str
    storage_gb: float


def parse(body: object, schema: Schema) -> Query:
    """The search that a JSON body asks for.

    Raises:
        InvalidQuery: when it names no known field or operator, or a value is of the wrong type.
    """
    if not isinstance(body, Mapping):
        raise InvalidQuery("A search query is a JSON object of fields.")
    predicates: list[Predicate] = []
    for name, asked in body.items():
        if name in {"order", "limit", "type"} or name in schema.ignored:
            continue
        predicates += _predicates(str(name), asked, schema)
    storage = body.get("allocated_storage")
    storage_gb = DEFAULT_STORAGE_GB
    if storage is not None and not isinstance(storage, Mapping):
        storage_gb = _number("allocated_storage", storage)
    if not 0 <= storage_gb < float("inf"):
        raise InvalidQuery("allocated_storage is a number of GB, zero or more.")
    rental = body.get("type")
    rental = "on-demand" if rental is None else rental
    if not isinstance(rental, str) or rental not in RENTALS:
        raise InvalidQuery(f"{rental!r} is not a rental type; say on-demand, reserved or bid.")
    return Query(
        tuple(predicates),
        _order(body.get("order"), schema),
        _limit(body.get("limit")),
        RENTALS[rental],
        storage_gb,
    )


class Queries:
    """Queries of one schema, the same object for the same words as long as it is remembered."""

    def __init__(self, schema: Schema) -> None:
        """Begin with none."""
        self._schema = schema
        self._known: dict[str, Query] = {}

    def read(self, body: Mapping[str, object]) -> Query:
        """The search that a JSON body asks for, understood only once.

        Raises:
            InvalidQuery: as `parse` does.
        """
        words = repr(body)  # tells apart whatever `parse` does: 1, 1.0, true and "1"
        query = self._known.get(words)
        if query is None:
            query = parse(body, self._schema)
            if len(self._known) >= KNOWN_MAX:
                self._known = {}
            if len(words) <= KNOWN_WORDS_MAX:
                self._known[words] = query
        return query


def parse_text(text: str, schema: Schema) -> dict[str, object]:
    """The JSON form of a one-line query such as `gpu_name in [A,B] num_gpus>=2`.

    Units that people type become the columns' own (GB to MB, days to seconds). Raises:
        InvalidQuery: when a part is no comparison.
    """
    found: dict[str, object] = {}
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _COMPARISON.match(text, at)
        if match is None:
            raise InvalidQuery(f"Cannot read {text[at:end].strip()!r}: expected field op value.")
        at = match.end()
        spelled = match["sign"] or " ".join(match["word"].split())
        operator = _SPELLINGS.get(spelled, spelled)
        name = schema.aliases.get(match["field"], match["field"])
        raw = match["value"].strip(",[]")
        if raw in ANY:
            if operator != "eq":
                raise InvalidQuery(f"{name}: {raw} can only be used with =.")
            found[name] = {"eq": "any"}
            continue
        parts = raw.split(",") if operator in {"in", "notin"} else [raw]
        values = [_typed(name, part, schema) for part in parts]
        earlier = found.get(name)
        operations = dict(earlier) if isinstance(earlier, Mapping) else {}
        operations.pop("eq" if operations.get("eq") == "any" else "", None)
        operations[operator] = values if operator in {"in", "notin"} else values[0]
        found[name] = operations
    return found


def written(query: Mapping[str, object], schema: Schema) -> str:
    """The one-line text that `parse_text` reads as this JSON form of a query.

    Raises:
        InvalidQuery: when it compares in a way that there is no text for.
    """
    clauses: list[str] = []
    for name, asked in query.items():
        if asked is None:
            continue  # clients send null for what they leave out
        unit = schema.text_units.get(schema.aliases.get(name, name), 1.0)
        operations = asked if isinstance(asked, Mapping) else {_plain(asked): asked}
        for operator, value in operations.items():
            values = value if isinstance(value, list | tuple) else [value]
            words = [_word(name, one, unit) for one in values]
            if operator in {"in", "notin"}:
                clauses.append(f"{name} {operator} [{','.join(words)}]")
            elif operator in _SIGNS and len(words) == 1:
                clauses.append(f"{name}{_SIGNS[operator]}{words[0]}")
            else:
                raise InvalidQuery(f"{name!r} cannot be compared by {operator!r}.")
    return " ".join(clauses)


def _word(name: str, value: object, unit: float) -> str:
    text = str(value)
    if unit != 1 and text not in ANY:
        number = _number(name, value) / unit
        text = f"{number:.0f}" if number.is_integer() else repr(number)
    return text.replace(" ", "_")


def _typed(name: str, raw: str, schema: Schema) -> Scalar:
    text = raw.strip().replace('"', "").replace("_", " ")
    if name in schema.text_units:
        # Rounded, so that 24.564 GB are 24,564 MB and no fraction of one more.
        return round(_number(name, text) * schema.text_units[name], 6)
    if text in {"None", "null"}:
        return None
    return text


def _predicates(name: str, asked: object, schema: Schema) -> list[Predicate]:
    scalar = not isinstance(asked, Mapping)
    target, factor, bound = name, 1.0, name in schema.at_least
    if bound:
        target = schema.at_least[name]
    elif name in schema.units:
        target, factor = schema.units[name]
    column = schema.column(target)
    if column is None:
        raise InvalidQuery(f"{name} is not a valid search key")
    if scalar and asked is None:
        return []  # clients send null for what they leave out
    operations = asked if isinstance(asked, Mapping) else {_plain(asked): asked}
    made = []
    for operator, value in operations.items():
        if operator not in OPERATORS:
            raise InvalidQuery(f"{operator} is not a valid search op")
        if operator == "eq" and isinstance(value, str) and value in ANY:
            continue
        lower = bound and operator in {"eq", "gt", "gte"}
        made.append(
            Predicate(
                column, "gte" if lower else operator, _coerced(column, operator, value, factor)
            )
        )
    return made


def _plain(value: object) -> str:
    return "in" if isinstance(value, list | tuple) else "eq"


def _coerced(
    column: Column, operator: str, value: object, factor: float
) -> Scalar | tuple[Scalar, ...]:
    if operator in {"in", "notin"}:
        if isinstance(value, str):
            value = value.strip("[]").split(",")
        if not isinstance(value, list | tuple):
            raise InvalidQuery(f"{column.name}: {operator} takes a list.")
        return tuple(_scalar(column, one, factor) for one in value)
    if value is None and operator not in {"eq", "neq"}:
        raise InvalidQuery(f"{column.name}: nothing can be {operator} null.")
    return _scalar(column, value, factor)


def _scalar(column: Column, value: object, factor: float) -> Scalar:
    if value is None:
        return None
    if column.kind is Kind.STRING:
        if isinstance(value, str | int | float):
            return column.fold(str(value).strip())
        raise InvalidQuery(f"{column.name} is compared with a text.")
    if column.kind is Kind.BOOL and isinstance(value, str):
        truth = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}.get(value.strip().lower())
        if truth is None:
            raise InvalidQuery(f"{column.name} is compared with true or false.")
        return truth
    return _number(column.name, value) * factor


def _number(name: str, value: object) -> float:
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\.\d+\.\d+\s*", value):
        major, minor, patch = value.split(".")  # a driver version: three zero-padded triples
        return float(int(major[-9:]) * 1_000_000 + int(minor[-9:]) * 1_000 + int(patch[-9:]))
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return float(value.strip().lower() == "true")
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if number != number:  # noqa: PLR0124 - the one value that differs from itself
        raise InvalidQuery(f"{name} is compared with a number.")
    return number


def _order(asked: object, schema: Schema) -> tuple[tuple[Column, bool], ...]:
    if asked is None:
        asked = [["score", "desc"]] if schema.column("score") else []
    if not isinstance(asked, list | tuple):
        raise InvalidQuery('order is a list such as [["dph_total","asc"]].')
    order = []
    for part in asked:
        match part:
            case [str(name), "asc" | "desc" as way]:
                column = schema.column(name)
                if column is None:
                    raise InvalidQuery(f"{name} is not a valid search key")
                order.append((column, way == "desc"))
            case _:
                raise InvalidQuery('order is a list such as [["dph_total","asc"]].')
    return tuple(order)


def _limit(asked: object) -> int:
    if asked is None:
        return DEFAULT_LIMIT
    number = _number("limit", asked)
    if not 0 <= number < float("inf") or number != int(number):
        raise InvalidQuery("limit is a whole number, zero or more.")
    return min(int(number), LARGEST_LIMIT)
