"""What must hold in the database of any market at any moment, asked in SQL.

Each law is a query for what breaks it. Tests of races, crashes and simulations share them.
"""

from typing import Any, Final, LiteralString

from psycopg import Connection

LAWS: Final[dict[str, LiteralString]] = {
    "a hold names a GPU of its contract, on the contract's machine": (
        "select h.* from gpu_holds h join contracts c on c.id = h.contract_id"
        " where c.machine_id <> h.machine_id or not (h.gpu = any (c.gpus))"
    ),
    "nothing destroyed holds a GPU": (
        "select h.* from gpu_holds h join instances i on i.id = h.contract_id"
        " where i.destroyed_at_ms is not null"
    ),
    "nothing destroyed runs a meter": (
        "select s.* from segments s join instances i on i.id = s.contract_id"
        " where s.to_ms is null and i.destroyed_at_ms is not null"
    ),
    "an open GPU meter belongs to a contract that holds all its GPUs": (
        "select s.* from segments s join contracts c on c.id = s.contract_id"
        " where s.kind = 'gpu' and s.to_ms is null and cardinality(c.gpus) <>"
        " (select count(*) from gpu_holds h where h.contract_id = c.id)"
    ),
    "segments of one meter never overlap": (
        "select a.id, b.id as other from segments a join segments b"
        " on b.contract_id = a.contract_id and b.kind = a.kind and b.id > a.id"
        " where a.from_ms < coalesce(b.to_ms, 9223372036854775807)"
        " and b.from_ms < coalesce(a.to_ms, 9223372036854775807)"
    ),
    "a purse is the sum of what moved": (
        "select p.name, p.balance, coalesce(m.amount, 0) as moved from purses p full join"
        " (select name, sum(amount) as amount from (select credit as name, amount from transfers"
        " union all select debit, -amount from transfers) t"
        " where name like 'credit:%' or name like 'earnings:%' group by name) m"
        " on m.name = p.name where coalesce(p.balance, 0) <> coalesce(m.amount, 0)"
    ),
    "no purse is below its floor": "select * from purses where balance < floor",
}


def broken(connection: Connection[Any]) -> dict[str, list[Any]]:
    """Which laws are broken, each with the rows that break it; empty when all hold."""
    found = {law: connection.execute(query).fetchall() for law, query in LAWS.items()}
    return {law: rows for law, rows in found.items() if rows}
