"""Filters, order and pages over rows already in memory: the lists of one account.

Offers have their own engine in catalog/; a person's instances, templates and charges are few.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from mercato.market import errors

OPERATORS: Final = frozenset({"eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"})

SORTED_BY_MAX: Final = 256
"""So many characters of a text decide its place: a token, which has them too, is part of a URL."""

Row = Mapping[str, Any]
Order = list[tuple[str, str]]


class InvalidToken(errors.Refusal):
    """A page token that this server did not give."""

    code: ClassVar[str] = "invalid_token"


class Condition(msgspec.Struct, frozen=True):
    """One comparison."""

    column: str
    operator: str
    value: Any


def conditions(filters: Any, columns: frozenset[str]) -> list[Condition]:
    """What `{column: {operator: value}}` asks; a bare value means equality.

    Raises:
        InvalidQuery: naming the column or operator that is not known.
    """
    if filters is None:
        return []
    if not isinstance(filters, dict):
        raise errors.InvalidQuery("select_filters must be an object: {column: {operator: value}}.")
    asked = []
    for column, tests in filters.items():
        if column not in columns:
            raise errors.InvalidQuery(f"{column!r} is not a column that can be filtered.")
        if not isinstance(tests, dict):
            tests = {"in" if isinstance(tests, list) else "eq": tests}  # noqa: PLW2901 - the short form spelled out
        for operator, value in tests.items():
            if operator not in OPERATORS:
                known = ", ".join(sorted(OPERATORS))
                raise errors.InvalidQuery(f"{operator!r} is not an operator; there are: {known}.")
            if operator in {"in", "notin"} and not isinstance(value, list):
                raise errors.InvalidQuery(f"{operator!r} on {column!r} needs a list.")
            asked.append(Condition(column, operator, value))
    return asked


def matches(row: Row, asked: Sequence[Condition]) -> bool:
    """Whether a row meets every condition."""
    return all(_meets(row.get(c.column), c.operator, c.value, c.column) for c in asked)


def _meets(actual: Any, operator: str, wanted: Any, column: str) -> bool:
    match operator:
        case "eq":
            return _same(actual, wanted, column)
        case "neq":
            return not _same(actual, wanted, column)
        case "in":
            return any(_same(actual, one, column) for one in wanted)
        case "notin":
            return not any(_same(actual, one, column) for one in wanted)
        case _:
            return _ranks(actual, operator, wanted)


def _ranks(actual: Any, operator: str, wanted: Any) -> bool:
    left, right = _number(actual), _number(wanted)
    if left is None or right is None:
        if not (isinstance(actual, str) and isinstance(wanted, str)):
            return False
        return _compare(operator, actual, wanted)
    return _compare(operator, left, right)


def _compare(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "gt":
            return bool(left > right)
        case "gte":
            return bool(left >= right)
        case "lt":
            return bool(left < right)
        case _:
            return bool(left <= right)


def _same(actual: Any, wanted: Any, column: str) -> bool:
    if wanted == "any":
        return True
    if actual is None or wanted is None:
        return actual is None and wanted is None
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return _truth(actual) == _truth(wanted)
    left, right = _number(actual), _number(wanted)
    if left is not None and right is not None:
        return left == right
    if column == "gpu_name":
        return _plain(str(actual)) == _plain(str(wanted))
    return str(actual) == str(wanted)


def _truth(value: Any) -> object:
    return {"true": True, "false": False}.get(str(value).lower(), value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def order_of(asked: Any, columns: frozenset[str]) -> Order:
    """The columns and directions of `[{"col", "dir"}]` or `[["col", "dir"]]`, ended by the id.

    Raises:
        InvalidQuery: when a column or direction is not known.
    """
    order: Order = []
    if asked is not None and not isinstance(asked, list):
        raise errors.InvalidQuery('order_by must be a list of {"col": …, "dir": "asc" or "desc"}.')
    for one in asked or []:
        match one:
            case {"col": str(column), **rest}:
                direction = rest.get("dir", "asc")
            case [str(column), direction]:
                pass
            case _:
                raise errors.InvalidQuery(f"{one!r} in order_by names no column.")
        if column not in columns or direction not in ("asc", "desc"):
            raise errors.InvalidQuery(f"Cannot order by {column!r} {direction!r}.")
        order.append((column, direction))
    if not any(column == "id" for column, _ in order):
        order.append(("id", "asc"))
    return order


def ordered(rows: Sequence[Row], order: Order) -> list[Row]:
    """Rows in order; what is unknown comes last whichever the direction."""
    done = list(rows)
    for column, direction in reversed(order):
        known = [row for row in done if row.get(column) is not None]
        unknown = [row for row in done if row.get(column) is None]
        known.sort(key=lambda row, name=column: _sortable(row[name]), reverse=direction == "desc")  # type: ignore[misc]
        done = known + unknown
    return done


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return (0, value)
    return (1, str(value)[:SORTED_BY_MAX])


class _Last(msgspec.Struct, frozen=True):
    """The row after which a page goes on, as it was: its id and what it was ordered by."""

    values: dict[str, bool | int | float | str | None]


def token_after(row: Row, order: Order) -> str:
    """A token that continues after `row` in this order."""
    values = {
        column: None if row[column] is None else _sortable(row[column])[1]
        for column in ("id", *(column for column, _ in order))
    }
    return base64.urlsafe_b64encode(msgspec.json.encode(_Last(values))).decode()


def after(rows: Sequence[Row], token: str | None, order: Order) -> Sequence[Row]:
    """The rows, which are in this order, that follow the one named by `token`.

    A row that has gone since is no reason to begin again, nor to end: the list then goes on with
    what would have come after it.

    Raises:
        InvalidToken: when the token is not one of ours, or of another order.
    """
    if not token:
        return rows
    try:
        last = msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=_Last).values
        for index, row in enumerate(rows):
            if row["id"] == last["id"]:
                return rows[index + 1 :]
        return [row for row in rows if _follows(row, last, order)]
    except (ValueError, KeyError, RecursionError):
        raise InvalidToken("after_token is not a token that this server gave.") from None


def _follows(row: Row, last: Row, order: Order) -> bool:
    """Whether a row comes after the last one, as `ordered` orders them."""
    for column, direction in order:
        value, before = row.get(column), last[column]
        if (value is None) != (before is None):
            return value is None
        if value is not None and _sortable(value) != _sortable(before):
            return (_sortable(value) > _sortable(before)) == (direction == "asc")
    return False
