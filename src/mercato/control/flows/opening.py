"""The accounts that a market begins with: opened by whoever starts it, with a key of their own."""

from mercato.control.db import Tx
from mercato.control.store import accounts, api_keys
from mercato.market.ids import AccountId


def open_account(
    tx: Tx,
    email: str,
    secret: str,
    key_name: str,
    now_ms: int,
    *,
    is_operator: bool = False,
    is_host: bool = False,
) -> AccountId:
    """Make sure that the account is there and that `secret` is a key of it; again changes nothing.

    An account that was there keeps the roles that it has.
    """
    known = accounts.find(tx, email)
    account = known.id if known else None
    if account is None:
        account = accounts.create(
            tx,
            email=email,
            username=email.partition("@")[0],
            is_operator=is_operator,
            is_host=is_host,
            now_ms=now_ms,
        )
        assert account is not None, email
    if api_keys.owner_of(tx, secret) is None:
        api_keys.create(
            tx, account=account, kind="account", name=key_name, secret=secret, now_ms=now_ms
        )
    return account


def is_new(tx: Tx, email: str) -> bool:
    """Whether nobody has an account under this address."""
    return accounts.find(tx, email) is None


def open_operator(tx: Tx, email: str, secret: str, now_ms: int) -> None:
    """Open an operator's account with its first key, unless there is one of this address."""
    if is_new(tx, email):
        open_account(tx, email, secret, "first key", now_ms, is_operator=True)
