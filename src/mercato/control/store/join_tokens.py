"""Join tokens: the right to add one machine to a host's, once. Only hashes are kept."""

import hashlib

from mercato.control.db import Tx
from mercato.market.ids import AccountId, MachineId


def digest(token: str) -> bytes:
    """What is stored in place of a token."""
    return hashlib.sha256(token.encode()).digest()


def create(tx: Tx, token: str, host: AccountId, now_ms: int, expires_at_ms: int) -> None:
    """Keep a new token; whoever made it shows it once."""
    tx.run(
        "insert into join_tokens (hash, host_id, created_at_ms, expires_at_ms)"
        " values (%s, %s, %s, %s)",
        digest(token),
        host,
        now_ms,
        expires_at_ms,
    )


def host_of(tx: Tx, token: str, now_ms: int) -> AccountId | None:
    """Whose machine may join with this token; None when unknown, used or expired."""
    row = tx.one(
        "select host_id from join_tokens where hash = %s and machine_id is null"
        " and expires_at_ms > %s",
        digest(token),
        now_ms,
    )
    return AccountId(row["host_id"]) if row else None


def use(tx: Tx, token: str, machine: MachineId) -> None:
    """Remember which machine joined with it."""
    tx.run("update join_tokens set machine_id = %s where hash = %s", machine, digest(token))


def forget_expired(tx: Tx, now_ms: int) -> int:
    """Delete tokens nobody can use any more; how many there were."""
    return tx.run("delete from join_tokens where expires_at_ms <= %s", now_ms)
