"""SSH public keys of accounts."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, SshKeyId


class SshKey(msgspec.Struct, frozen=True, kw_only=True):
    """One public key of an account."""

    id: SshKeyId
    account_id: AccountId
    public_key: str
    created_at_ms: int


_COLUMNS: Final[LiteralString] = "id, account_id, public_key, created_at_ms"


def create(tx: Tx, account: AccountId, public_key: str, now_ms: int) -> SshKey:
    """Keep a public key; the same text again is a second key, as deleting one must not both."""
    row = tx.one(
        "insert into ssh_keys (account_id, public_key, created_at_ms) values (%s, %s, %s)"  # noqa: S608 - the columns are fixed above
        f" returning {_COLUMNS}",
        account,
        public_key,
        now_ms,
    )
    return msgspec.convert(row, SshKey)


def of_account(tx: Tx, account: AccountId) -> list[SshKey]:
    """The keys of an account, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from ssh_keys where account_id = %s"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null order by id",
        account,
    )
    return [msgspec.convert(row, SshKey) for row in rows]


def find(tx: Tx, account: AccountId, public_key: str) -> SshKey | None:
    """The account's key with this text; None when it has none."""
    row = tx.one(
        f"select {_COLUMNS} from ssh_keys where account_id = %s and public_key = %s"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null order by id limit 1",
        account,
        public_key,
    )
    return msgspec.convert(row, SshKey) if row else None


def replace(tx: Tx, account: AccountId, key: SshKeyId, public_key: str) -> SshKey | None:
    """Change the text of a key; None when the account has no such key."""
    row = tx.one(
        "update ssh_keys set public_key = %s where id = %s and account_id = %s"  # noqa: S608 - the columns are fixed above
        f" and deleted_at_ms is null returning {_COLUMNS}",
        public_key,
        key,
        account,
    )
    return msgspec.convert(row, SshKey) if row else None


def delete(tx: Tx, account: AccountId, key: SshKeyId, now_ms: int) -> bool:
    """Forget a key; False when the account has no such key. Instances keep their copies."""
    return (
        tx.run(
            "update ssh_keys set deleted_at_ms = %s where id = %s and account_id = %s"
            " and deleted_at_ms is null",
            now_ms,
            key,
            account,
        )
        > 0
    )


def on_instance(tx: Tx, contract: int) -> list[SshKey]:
    """The keys that open one instance, oldest first."""
    rows = tx.all(
        "select k.id, k.account_id, i.public_key, k.created_at_ms from instance_ssh_keys i"
        " join ssh_keys k on k.id = i.ssh_key_id where i.contract_id = %s order by k.id",
        contract,
    )
    return [msgspec.convert(row, SshKey) for row in rows]
