"""Output of logs and commands: written once, read by whoever has the unguessable token."""

from mercato.control.db import Tx
from mercato.market.ids import ContractId

KEPT_MS = 3_600_000
"""How long an output can be read."""


def expect(tx: Tx, token: str, contract: ContractId | None, now_ms: int) -> None:
    """Announce an output that is still to come."""
    tx.run(
        "insert into results (token, contract_id, created_at_ms, expires_at_ms)"
        " values (%s, %s, %s, %s)",
        token,
        contract,
        now_ms,
        now_ms + KEPT_MS,
    )


def fill(tx: Tx, token: str, body: str) -> None:
    """Write an announced output; PostgreSQL's text cannot hold NUL, so those bytes go."""
    tx.run("update results set body = %s where token = %s", body.replace("\x00", ""), token)


def read(tx: Tx, token: str, now_ms: int) -> str | None:
    """The output; None while it is not there, or no longer."""
    row = tx.one("select body from results where token = %s and expires_at_ms > %s", token, now_ms)
    return row["body"] if row else None


def forget_expired(tx: Tx, now_ms: int) -> int:
    """Delete what nobody can read any more; how many there were."""
    return tx.run("delete from results where expires_at_ms <= %s", now_ms)
