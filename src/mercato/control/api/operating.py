"""For the operator of the market: accounts, credit, machines, loops."""

from typing import Any, Final, Literal

import msgspec

from mercato.control.api.accounts import UserExists, checked_email
from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.hosting import MachineRow, machine_row
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import hosting, metering, paying
from mercato.control.store import accounts, api_keys, machine_views
from mercato.market import errors
from mercato.market.ids import AccountId, MachineId
from mercato.market.money import NanoUsd, dollars, nano

CREDIT_MAX: Final = 1e8
CAUSE_MAX: Final = 128


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its operator sees it; dollars."""

    id: int
    email: str
    username: str
    is_operator: bool
    is_host: bool
    parent_id: int | None
    credit: float
    earnings: float
    created_at: float
    api_key: str | None = None
    """Only in the answer that makes the account."""


class Accounts(msgspec.Struct, frozen=True, kw_only=True):
    """Every account."""

    success: bool = True
    accounts: list[AccountRow]


class OneAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that was made."""

    success: bool = True
    account: AccountRow


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account to be made."""

    email: str
    username: str | None = None
    is_host: bool = False
    is_operator: bool = False
    credit: float = 0.0
    """Dollars that it begins with."""


def _row(tx: Tx, account: accounts.Account, now_ms: int, key: str | None = None) -> AccountRow:
    now = metering.balance(tx, account.id, now_ms)
    return AccountRow(
        id=account.id,
        email=account.email,
        username=account.username,
        is_operator=account.is_operator,
        is_host=account.is_host,
        parent_id=account.parent_id,
        credit=dollars(now.spendable),
        earnings=dollars(now.earnings),
        created_at=seconds(account.created_at_ms),
        api_key=key,
    )


async def list_accounts(call: Call, asked: Nothing) -> Accounts:  # noqa: ARG001 - nothing is asked
    """List every account with its credit at this moment."""
    return Accounts(accounts=await call.services.db.run(_accounts, call.now_ms))


def _accounts(tx: Tx, now_ms: int) -> list[AccountRow]:
    return [_row(tx, account, now_ms) for account in accounts.everyone(tx)]


async def create_account(call: Call, asked: NewAccount) -> OneAccount:
    """Make an account; its first API key is shown this once."""
    checked_email(asked.email)
    _checked_amount(asked.credit, least=0.0)
    made = await call.services.db.run(_create, asked, new_secret(), call.cause, call.now_ms)
    return OneAccount(account=made)


def _create(tx: Tx, asked: NewAccount, secret: str, cause: str, now_ms: int) -> AccountRow:
    taken = UserExists(f"There is an account {asked.email} already.")
    if accounts.find(tx, asked.email) is not None:
        raise taken
    made = accounts.create(
        tx,
        email=asked.email,
        username=asked.username or asked.email.partition("@")[0],
        is_operator=asked.is_operator,
        is_host=asked.is_host,
        now_ms=now_ms,
    )
    if made is None:
        raise taken
    api_keys.create(
        tx, account=made, kind="account", name="first key", secret=secret, now_ms=now_ms
    )
    if asked.credit:
        paying.add_credit(tx, made, NanoUsd(nano(asked.credit)), cause, now_ms)
    account = accounts.get(tx, made)
    assert account is not None
    return _row(tx, account, now_ms, secret)


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars for an account; the same cause never gives twice."""

    id: int
    amount: float
    cause: str | None = None


async def add_credit(call: Call, asked: Credit) -> Done:
    """Give an account credit, once for each cause."""
    _checked_amount(asked.amount, least=1e-9)
    cause = asked.cause or call.cause
    if len(cause) > CAUSE_MAX:
        raise errors.TooLong(f"A cause has at most {CAUSE_MAX} characters.")
    await call.services.db.run(_credit, asked, cause, call.now_ms)
    return Done(msg=f"Account {asked.id} has {asked.amount} dollars more, by {cause!r}.")


def _credit(tx: Tx, asked: Credit, cause: str, now_ms: int) -> None:
    if accounts.get(tx, AccountId(asked.id)) is None:
        raise errors.NotFound(f"There is no account {asked.id}.")
    amount = NanoUsd(nano(asked.amount))
    paying.add_credit(tx, AccountId(asked.id), amount, cause, now_ms)


def _checked_amount(amount: float, *, least: float) -> None:
    if not least <= amount <= CREDIT_MAX:
        raise errors.InvalidPrice(f"An amount is from {least:g} to {CREDIT_MAX:g} dollars.")


class AllMachines(msgspec.Struct, frozen=True, kw_only=True):
    """Every machine of the market."""

    success: bool = True
    machines: list[MachineRow]


async def list_machines(call: Call, asked: Nothing) -> AllMachines:  # noqa: ARG001 - nothing is asked
    """List every machine of the market."""
    found = await call.services.db.run(machine_views.everywhere)
    return AllMachines(machines=[machine_row(view) for view in found])


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a machine is verified."""

    id: int
    verification: Literal["verified", "unverified", "deverified"]


async def verify(call: Call, asked: Verification) -> Done:
    """Say whether a machine is verified."""
    await call.services.db.run(hosting.verify, MachineId(asked.id), asked.verification, call.now_ms)
    return Done(msg=f"Machine {asked.id} is {asked.verification}.")


class LoopRow(msgspec.Struct, frozen=True, kw_only=True):
    """A background loop of this replica and how its last run went."""

    name: str
    purpose: str
    period_s: float
    report: dict[str, Any] | None
    failure: str | None
    runs: int
    age_s: float | None
    """Since its last run; null before the first."""


class Loops(msgspec.Struct, frozen=True, kw_only=True):
    """The background loops."""

    success: bool = True
    loops: list[LoopRow]


async def list_loops(call: Call, asked: Nothing) -> Loops:  # noqa: ARG001 - nothing is asked
    """List the background loops of the replica that answers."""
    return Loops(
        loops=[
            LoopRow(
                name=loop.name,
                purpose=loop.purpose,
                period_s=loop.period_s,
                report=dict(loop.status.report),
                failure=loop.status.failure,
                age_s=None
                if loop.status.began_at_ms is None
                else (call.now_ms - loop.status.began_at_ms) / 1_000,
                runs=loop.status.runs,
            )
            for loop in call.services.loops()
        ]
    )
