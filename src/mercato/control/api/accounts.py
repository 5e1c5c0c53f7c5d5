"""The account that asks: who it is, its subaccounts, its addresses, its history."""

import re
from typing import Any, Final

import anyio.to_thread
import msgspec
from argon2 import PasswordHasher

from mercato.control.api.call import Call, Nothing
from mercato.control.api.keys import checked_public_key
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import crediting, metering
from mercato.control.store import accounts, audit, ip_addresses, payments, ssh_keys
from mercato.market import errors
from mercato.market.credit import Thresholds
from mercato.market.ids import AccountId
from mercato.market.money import NanoUsd, dollars, nano

AUDIT_LINES_MAX: Final = 1_000
PROFILE_BYTES_MAX: Final = 16_384

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its owner sees it. Money in dollars."""

    id: int
    sid: int
    key_id: int | None = None
    email: str
    email_verified: bool = True
    username: str
    user: str
    fullname: str
    full_name: str
    credit: float
    """What can be spent now: deposits less everything that has run up to this moment."""
    balance: float
    """Everything that belongs to the account: `credit` and what it earned as a host."""
    earnings: float = 0.0
    """What it earned as a host and has not been paid out."""
    balance_threshold: float | None = None
    balance_threshold_enabled: bool = False
    autobill_threshold: float | None = None
    autobill_amount: float | None = None
    billaddress_line1: str | None = None
    billaddress_line2: str | None = None
    billaddress_city: str | None = None
    billaddress_zip: str | None = None
    billaddress_country: str | None = None
    billaddress_taxinfo: str | None = None
    billed_expected: float = 0.0
    billed_verified: float = 0.0
    billing_creditonly: bool = True
    can_pay: bool = False
    got_signup_credit: bool = False
    has_billing: bool = False
    has_payout: bool = False
    last4: str | None = None
    paid_expected: float = 0.0
    paid_verified: float = 0.0
    password_resettable: bool = False
    paypal_email: str | None = None
    phone_number: str | None = None
    ssh_key: str | None = None
    tfa_status: str = "disabled"
    host_agreement_accepted: bool
    host_only: bool = False
    is_operator: bool = False
    parent_id: int | None = None
    created_at: float


PROFILE_FIELDS: Final = frozenset(
    {
        "normalized_email",
        "paypal_email",
        "wise_email",
        "phone_number",
        "billaddress_name",
        "billaddress_line1",
        "billaddress_line2",
        "billaddress_addr1",
        "billaddress_addr2",
        "billaddress_city",
        "billaddress_zip",
        "billaddress_country",
        "billaddress_taxinfo",
        "balance_threshold",
        "balance_threshold_enabled",
        "autobill_threshold",
        "autobill_amount",
    }
)
"""What `set user` may keep besides e-mail, names and SSH key."""


def _user(tx: Tx, account: AccountId, now_ms: int, key: int | None = None) -> User:
    found = accounts.get(tx, account)
    if found is None:
        raise errors.NotFound(f"There is no account {account}.")
    money = metering.balance(tx, account, now_ms)
    credit, earned = money.spendable, money.earnings
    keys = ssh_keys.of_account(tx, account)
    method = payments.method(tx, account)
    shown = {
        name: value
        for name, value in found.profile.items()
        if name in User.__struct_fields__ and value is not None
    }
    facts: dict[str, Any] = {
        **shown,
        "id": found.id,
        "sid": found.id,
        "key_id": key,
        "email": found.email,
        "username": found.username,
        "user": found.username,
        "fullname": found.fullname,
        "full_name": found.fullname,
        "credit": dollars(credit),
        "balance": dollars(credit + earned),
        "earnings": dollars(earned),
        "has_billing": method is not None and method.card != "",
        "can_pay": method is not None and method.card != "",
        "last4": method.card_label or None if method else None,
        "has_payout": method is not None and method.payout_to is not None,
        "ssh_key": keys[0].public_key if keys else None,
        "host_agreement_accepted": found.is_host,
        "is_operator": found.is_operator,
        "parent_id": found.parent_id,
        "created_at": seconds(found.created_at_ms),
    }
    return msgspec.convert(facts, User)


async def show_user(call: Call, asked: Nothing) -> User:  # noqa: ARG001 - nothing is asked
    """Show the account that asks, with its balance at this moment."""
    return await call.services.db.run(_user, call.account, call.now_ms, call.who.key)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner can change; names of other fields are kept out with an error."""

    email: str | None = None
    username: str | None = None
    fullname: str | None = None
    ssh_key: str | None = None


async def set_user(call: Call, asked: Settings) -> User:
    """Change the account's e-mail address, names, address, thresholds."""
    return await call.services.db.run(
        _set_user, call.account, asked, dict(call.arguments), call.now_ms
    )


def _set_user(
    tx: Tx, account: AccountId, asked: Settings, arguments: dict[str, Any], now_ms: int
) -> User:
    found = accounts.get(tx, account)
    assert found is not None
    unknown = set(arguments) - PROFILE_FIELDS - set(Settings.__struct_fields__) - {"id", "owner"}
    if unknown:
        raise errors.InvalidRequest(
            f"Unknown field {min(unknown)!r}. Fields that can be set:"
            f" email, fullname, ssh_key, username, {', '.join(sorted(PROFILE_FIELDS))}."
        )
    email = found.email if asked.email is None else checked_email(asked.email)
    other = accounts.find(tx, email)
    if other is not None and other.id != account:
        raise UserExists(f"Another account has the address {email}.")
    changed = {name: arguments[name] for name in PROFILE_FIELDS & set(arguments)}
    profile = _checked_profile({**found.profile, **changed})
    accounts.update(
        tx,
        account,
        email=email,
        username=asked.username if asked.username is not None else found.username,
        fullname=asked.fullname if asked.fullname is not None else found.fullname,
        profile=profile,
    )
    crediting.want(tx, account, _thresholds(profile), now_ms)
    if asked.ssh_key and ssh_keys.find(tx, account, asked.ssh_key.strip()) is None:
        ssh_keys.create(tx, account, checked_public_key(asked.ssh_key), now_ms)
    return _user(tx, account, now_ms)


def _thresholds(profile: dict[str, Any]) -> Thresholds:
    """At which credit the account wants to be told, and its card charged."""
    told, below = profile.get("balance_threshold"), profile.get("autobill_threshold")
    amount = profile.get("autobill_amount") or below or 0
    return Thresholds(
        warn_below=NanoUsd(nano(told))
        if told and profile.get("balance_threshold_enabled")
        else None,
        top_up_below=NanoUsd(nano(below)) if below else None,
        top_up_amount=NanoUsd(nano(amount)),
    )


def _checked_profile(profile: dict[str, Any]) -> dict[str, Any]:
    try:
        # Converted so that a wrong type is refused now and not when the account is next shown.
        msgspec.convert(
            {name: value for name, value in profile.items() if value is not None},
            _PROFILE,
        )
    except msgspec.ValidationError as problem:
        raise errors.InvalidRequest(str(problem)) from None
    if len(msgspec.json.encode(profile)) > PROFILE_BYTES_MAX:
        raise errors.TooLong(f"A profile has at most {PROFILE_BYTES_MAX} bytes.")
    return profile


_PROFILE = msgspec.defstruct(
    "Profile",
    [
        (field.name, field.type, None)
        for field in msgspec.structs.fields(User)
        if field.name in PROFILE_FIELDS
    ],
)


def checked_email(email: str) -> str:
    """The address, or a refusal when it is none."""
    if not _EMAIL.fullmatch(email) or email.lower().endswith(f"@{accounts.TEAM_DOMAIN}"):
        raise InvalidEmail(f"{email[:80]!r} is not an e-mail address.")
    return email


class InvalidEmail(errors.InvalidRequest):
    """It is no e-mail address."""

    code = "invalid_email"


class UserExists(errors.Conflict):
    """Another account has the address."""

    code = "user_exists"


class NewSubaccount(msgspec.Struct, frozen=True, kw_only=True):
    """A subaccount to be made."""

    email: str
    username: str
    password: str = ""
    host_only: bool = False
    parent_id: str | int = "me"


class Subaccount(msgspec.Struct, frozen=True, kw_only=True):
    """A subaccount that was made."""

    success: bool = True
    id: int
    username: str
    email: str
    key_id: int | None = None


async def create_subaccount(call: Call, asked: NewSubaccount) -> Subaccount:
    """Make an account under the account that asks."""
    checked_email(asked.email)
    if not asked.username.strip():
        raise errors.InvalidRequest("username is empty.")
    password_hash = None
    if asked.password:
        password_hash = await anyio.to_thread.run_sync(PasswordHasher().hash, asked.password)
    made = await call.services.db.run(
        _create_subaccount, call.account, asked, password_hash, call.now_ms
    )
    return Subaccount(id=made, username=asked.username, email=asked.email)


def _create_subaccount(
    tx: Tx, parent: AccountId, asked: NewSubaccount, password_hash: str | None, now_ms: int
) -> AccountId:
    taken = UserExists(f"There is an account {asked.email} already.")
    if accounts.find(tx, asked.email) is not None:
        raise taken
    made = accounts.create(
        tx,
        email=asked.email,
        username=asked.username,
        now_ms=now_ms,
        parent=parent,
        is_host=asked.host_only,
        password_hash=password_hash,
    )
    if made is None:
        raise taken
    return made


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """Subaccounts."""

    success: bool = True
    users: list[User]


async def list_subaccounts(call: Call, asked: Nothing) -> Users:  # noqa: ARG001 - nothing is asked
    """List the accounts under the account that asks."""
    return Users(users=await call.services.db.run(_subaccounts, call.account, call.now_ms))


def _subaccounts(tx: Tx, parent: AccountId, now_ms: int) -> list[User]:
    return [_user(tx, child.id, now_ms) for child in accounts.children(tx, parent)]


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change made with the account's keys; times in seconds since the epoch."""

    ip_address: str
    api_key_id: int | None
    created_at: float
    api_route: str
    method: str
    args: str


async def list_audit(call: Call, asked: Nothing) -> list[AuditLine]:  # noqa: ARG001 - nothing is asked
    """List the latest changes made with the account's keys, newest first."""
    deeds = await call.services.db.run(audit.of_account, call.account, AUDIT_LINES_MAX)
    return [
        AuditLine(
            ip_address=deed.ip_address,
            api_key_id=deed.api_key_id,
            created_at=seconds(deed.at_ms),
            api_route=f"{deed.method} {deed.route}",
            method=deed.method,
            args=msgspec.json.encode(deed.args).decode(),
        )
        for deed in deeds
    ]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address from which the account was used."""

    ip: str
    first_seen: float
    first_location: str | None = None


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses, newest first."""

    success: bool = True
    results: list[Address]


async def list_addresses(call: Call, asked: Nothing) -> Addresses:  # noqa: ARG001 - nothing is asked
    """List the addresses from which the account was used."""
    seen = await call.services.db.run(ip_addresses.of_account, call.account)
    return Addresses(
        results=[Address(ip=one.ip, first_seen=seconds(one.first_seen_at_ms)) for one in seen]
    )
