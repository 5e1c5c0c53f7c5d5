"""All that a database holds, so that two can be compared.

Ids are told by their rank and numbers in texts not at all: a transaction that was rolled back
leaves gaps in ids that nobody can see. What is sealed or hashed is not told: no two are alike.
"""

import re
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

Contents = dict[str, list[dict[str, Any]]]

_TABLES: Final = (
    "select relname from pg_class where relnamespace = 'public'::regnamespace"
    " and relkind = 'r' order by relname"
)
_REFERENCES: Final = (
    "select r.conrelid::regclass::text, a.attname, r.confrelid::regclass::text"
    " from pg_constraint r join pg_attribute a"
    " on a.attrelid = r.conrelid and a.attnum = r.conkey[1] where r.contype = 'f'"
)
_NUMBER: Final = re.compile(r"\d+")


def contents(conn: psycopg.Connection[Any], *, numbers: bool = True) -> Contents:
    """Every row of every table, in the order of its id or of what it says.

    `numbers`: whether to tell those within JSON, of which some are ids.
    """
    cursor = conn.cursor(row_factory=tuple_row)
    rows: Contents = {
        table: [
            row
            for (row,) in cursor.execute(
                SQL("select to_jsonb(it) from {} it").format(Identifier(table))
            ).fetchall()
        ]
        for (table,) in cursor.execute(_TABLES).fetchall()
    }
    targets = {(place, name): target for place, name, target in cursor.execute(_REFERENCES)}
    targets["join_tokens", "machine_id"] = "machines"
    ranks = {
        table: {
            number: rank
            for rank, number in enumerate(sorted(row["id"] for row in found if "id" in row))
        }
        for table, found in rows.items()
    }

    def told(table: str, name: str, value: Any) -> Any:
        target = targets.get((table, name), table if name == "id" else None)
        while (target, "id") in targets:  # an instance has the id of its contract
            target = targets[str(target), "id"]
        if target is None or value is None:
            return _plain(value, numbers=numbers or isinstance(value, int))
        return ranks[target][value]

    return {
        table: sorted(
            ({name: told(table, name, value) for name, value in row.items()} for row in found),
            key=lambda row: (row.get("id", 0), str(sorted(row.items()))),
        )
        for table, found in rows.items()
    }


def _plain(value: Any, *, numbers: bool) -> Any:
    """A value without what differs from one run to the next."""
    match value:
        case str():
            return "sealed" if value.startswith("\\x") else _NUMBER.sub("#", value)
        case list():
            return [_plain(one, numbers=numbers) for one in value]
        case dict():
            return {name: _plain(one, numbers=numbers) for name, one in value.items()}
        case int() | float() if not numbers:
            return 0
        case _:
            return value
