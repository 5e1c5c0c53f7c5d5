"""Keys: API keys, which act for an account, and SSH keys, which open its instances."""

import base64
import binascii
from typing import Any, Final

import msgspec

from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.caller import Caller
from mercato.control.api.times import seconds
from mercato.control.db import Tx
from mercato.control.flows import limiting
from mercato.control.store import api_keys, ssh_keys, teams
from mercato.control.store.api_keys import ApiKey
from mercato.control.store.ssh_keys import SshKey
from mercato.market import errors
from mercato.market.access import GRANTABLE, SCOPES, Permission, within
from mercato.market.ids import AccountId, ApiKeyId, SshKeyId
from mercato.market.limits import Scope

NAME_MAX: Final = 256
PUBLIC_KEY_MAX: Final = 16_384
KEYS_MAX: Final = 1_000
PUBLIC_KEY_TYPES: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key to be made."""

    name: str = ""
    permissions: dict[str, Any] | None = None
    """`{"api": {"<category>": {}}}`, or the names of single routes with their `constraints` in the
    category; None for all that the account may."""
    key_params: Any = None
    team_id: int | None = None
    """A team of which the account is a member: the key acts there, as far as its role reaches."""


class MadeApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new API key, with its secret, which is shown this once."""

    success: bool = True
    id: int
    key: str
    name: str
    permissions: dict[str, Any] | None


class ShownApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret."""

    id: int
    user_id: int
    name: str
    prefix: str
    """The first characters of the key, to know it again by."""
    rights: dict[str, Any] | None
    permissions: dict[str, Any] | None
    team_id: int | None = None
    team_name: str | None = None
    created_at: float


class ShownApiKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The account's API keys."""

    success: bool = True
    apikeys: list[ShownApiKey]


class ById(msgspec.Struct, frozen=True, kw_only=True):
    """One thing, by its id."""

    id: int


class _InvalidPermissions(errors.InvalidRequest):
    code = "invalid_permissions"


def checked_permissions(permissions: dict[str, Any] | None) -> dict[str, Any] | None:
    """The `api` object of a permission file, or what is wrong with it."""
    if permissions is None:
        return None
    granted = permissions.get("api")
    if not isinstance(granted, dict):
        raise _InvalidPermissions('permissions must look like {"api": {"<category>": {}}}.')
    for category, rules in granted.items():
        if category not in GRANTABLE:
            known = ", ".join(sorted(GRANTABLE))
            raise _InvalidPermissions(f"Unknown category {category!r}; there are: {known}.")
        if not isinstance(rules, dict) or not all(isinstance(r, dict) for r in rules.values()):
            raise _InvalidPermissions(f"The rules of {category!r} must be an object of objects.")
        for scope, rule in rules.items():
            _check_rule(category, scope, rule)
    return granted


def _check_rule(category: str, scope: str, rule: dict[str, Any]) -> None:
    if SCOPES.get(scope) != category:
        known = ", ".join(name for name, its in SCOPES.items() if its == category) or "none"
        raise _InvalidPermissions(
            f"Unknown route {scope!r} in {category!r}; there are: {known}. An empty object, {{}},"
            " stands for all that is in the category."
        )
    if rule.keys() - {"constraints"}:
        raise _InvalidPermissions(f"The rule of {scope!r} takes constraints and nothing else.")
    _check_constraints(rule.get("constraints"))


def _check_constraints(constraints: Any) -> None:
    if constraints is None:
        return
    if not isinstance(constraints, dict):
        raise _InvalidPermissions("constraints must be an object.")
    for name, bound in constraints.items():
        if not isinstance(bound, dict) or not set(bound) <= {"eq", "gte", "lte"}:
            raise _InvalidPermissions(f"The constraint on {name!r} takes eq, gte and lte.")


def _shown(key: ApiKey) -> ShownApiKey:
    granted = None if key.permissions is None else {"api": key.permissions}
    return ShownApiKey(
        id=key.id,
        user_id=key.account_id,
        name=key.name,
        prefix=key.prefix,
        rights=granted,
        permissions=granted,
        team_id=None if key.member_id is None else key.account_id,
        team_name=key.team_name,
        created_at=seconds(key.created_at_ms),
    )


async def create_api_key(call: Call, asked: NewApiKey) -> MadeApiKey:
    """Make an API key; its secret is in this answer and never again."""
    if len(asked.name) > NAME_MAX:
        raise errors.TooLong(f"A key's name has at most {NAME_MAX} characters.")
    granted = checked_permissions(asked.permissions)
    if not within(granted, call.who.permissions):
        raise errors.NotPermitted("A key cannot give another key more than it may itself.")
    account, member = call.account, call.who.member
    if asked.team_id is not None and asked.team_id != account:
        if member is not None:
            raise errors.NotPermitted("Make a key of another team with a key of your own account.")
        account, member = AccountId(asked.team_id), account
    secret = new_secret()
    made = await call.services.db.run(
        _create_api_key,
        account,
        member,
        asked.name,
        secret,
        granted,
        call.now_ms,
        by=call.who.key,
    )
    return MadeApiKey(
        id=made,
        key=secret,
        name=asked.name,
        permissions=None if granted is None else {"api": granted},
    )


def _create_api_key(  # noqa: PLR0913 - who asks, and each part of the key
    tx: Tx,
    account: AccountId,
    member: AccountId | None,
    name: str,
    secret: str,
    granted: dict[str, Any] | None,
    now_ms: int,
    *,
    by: ApiKeyId,
) -> ApiKeyId:
    limiting.require_unlimited(tx, account, {Scope.KEY: int(by)})
    if member is not None and teams.role_of(tx, account, member) is None:
        raise errors.NotFound(f"You are not a member of a team {account}.")
    if len(api_keys.of_account(tx, account)) >= KEYS_MAX:
        raise errors.TooMany(f"An account has at most {KEYS_MAX} API keys; delete one first.")
    return api_keys.create(
        tx,
        account=account,
        kind="account",
        name=name,
        secret=secret,
        permissions=granted,
        member=member,
        now_ms=now_ms,
    )


async def list_api_keys(call: Call, asked: Nothing) -> ShownApiKeys:  # noqa: ARG001 - nothing is asked
    """List the account's API keys and those that it has in teams, without their secrets."""
    kept = await call.services.db.run(api_keys.of_holder, call.account)
    return ShownApiKeys(apikeys=[_shown(key) for key in kept])


async def show_api_key(call: Call, asked: ById) -> ShownApiKey:
    """Show one API key, without its secret."""
    for key in await call.services.db.run(api_keys.of_holder, call.account):
        if key.id == asked.id:
            return _shown(key)
    raise errors.NotFound(f"There is no API key {asked.id} among yours.")


async def delete_api_key(call: Call, asked: ById) -> Done:
    """Take an API key out of use at once."""
    deleted = await call.services.db.run(_delete_api_key, call.who, ApiKeyId(asked.id), call.now_ms)
    call.services.keys.forget()
    if not deleted:
        raise errors.NotFound(f"There is no API key {asked.id} among yours.")
    return Done(msg=f"API key {asked.id} is out of use.")


def _delete_api_key(tx: Tx, who: Caller, key: ApiKeyId, now_ms: int) -> bool:
    if who.member is not None and not who.may(Permission.TEAM_WRITE):
        holder = {one.id: one.member_id for one in api_keys.of_account(tx, who.account)}
        if holder.get(key, who.member) != who.member:
            raise errors.NotPermitted(
                "That key of the team is another member's: whoever may change the team "
                "(team_write) takes it out of use."
            )
    tx.poke("keys")
    return api_keys.delete(tx, who.account, key, now_ms)


class ResetKey(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reset."""

    success: bool = True
    new_api_key: str
    msg: str = "The old key is out of use."


async def reset_api_key(call: Call, asked: Nothing) -> ResetKey:  # noqa: ARG001 - nothing is asked
    """Replace the key that asks by a new one with the same permissions."""
    secret = new_secret()
    await call.services.db.run(_reset, call.account, call.who.key, secret, call.now_ms)
    call.services.keys.forget()
    return ResetKey(new_api_key=secret)


def _reset(tx: Tx, account: AccountId, old: ApiKeyId, secret: str, now_ms: int) -> None:
    limiting.require_unlimited(tx, account, {Scope.KEY: int(old)})
    kept = {key.id: key for key in api_keys.of_account(tx, account)}
    if old not in kept:
        raise errors.NotAuthenticated("Invalid user key")
    api_keys.create(
        tx,
        account=account,
        kind="account",
        name=kept[old].name,
        secret=secret,
        permissions=kept[old].permissions,
        member=kept[old].member_id,
        now_ms=now_ms,
    )
    api_keys.delete(tx, account, old, now_ms)
    tx.poke("keys")


class NewSshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key."""

    ssh_key: str


class ChangedSshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key in the place of another."""

    id: int
    ssh_key: str


class ShownSshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of the account."""

    id: int
    user_id: int
    key: str
    public_key: str
    created_at: float
    deleted_at: float | None = None


class OneSshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was kept."""

    success: bool = True
    key: ShownSshKey
    msg: str = ""


def checked_public_key(text: str) -> str:
    """A public key in one line, as OpenSSH writes it.

    Raises:
        InvalidRequest: when it is anything else: a path, a private key, several lines.
    """
    line = text.strip()
    if len(line) > PUBLIC_KEY_MAX:
        raise errors.TooLong(f"A public key has at most {PUBLIC_KEY_MAX} characters.")
    if "PRIVATE KEY" in line:
        raise errors.InvalidRequest("That is a private key: keep it, and send its .pub file.")
    kind, _, rest = line.partition(" ")
    blob = rest.strip().partition(" ")[0]
    if "\n" in line or kind not in PUBLIC_KEY_TYPES or not _is_blob(kind, blob):
        raise errors.InvalidRequest(
            "ssh_key is not a public key. Send its text, like 'ssh-ed25519 AAAA… me@home', and"
            " not the name of a file."
        )
    return line


def _is_blob(kind: str, text: str) -> bool:
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = kind.encode()
    return blob.startswith(len(name).to_bytes(4, "big") + name) and len(blob) > len(name) + 8


def shown_ssh_key(key: SshKey) -> ShownSshKey:
    """A public key as the API shows it."""
    return ShownSshKey(
        id=key.id,
        user_id=key.account_id,
        key=key.public_key,
        public_key=key.public_key,
        created_at=seconds(key.created_at_ms),
    )


async def list_ssh_keys(call: Call, asked: Nothing) -> list[ShownSshKey]:  # noqa: ARG001 - nothing is asked
    """List the account's public keys."""
    return [
        shown_ssh_key(key) for key in await call.services.db.run(ssh_keys.of_account, call.account)
    ]


async def create_ssh_key(call: Call, asked: NewSshKey) -> OneSshKey:
    """Keep a public key; instances made from now on open to it."""
    public_key = checked_public_key(asked.ssh_key)
    kept = await call.services.db.run(_create_ssh_key, call.account, public_key, call.now_ms)
    return OneSshKey(key=shown_ssh_key(kept))


def _create_ssh_key(tx: Tx, account: AccountId, public_key: str, now_ms: int) -> SshKey:
    known = ssh_keys.find(tx, account, public_key)
    if known is not None:
        return known
    if len(ssh_keys.of_account(tx, account)) >= KEYS_MAX:
        raise errors.TooMany(f"An account has at most {KEYS_MAX} SSH keys; delete one first.")
    return ssh_keys.create(tx, account, public_key, now_ms)


async def change_ssh_key(call: Call, asked: ChangedSshKey) -> OneSshKey:
    """Put another public key in the place of one."""
    public_key = checked_public_key(asked.ssh_key)
    kept = await call.services.db.run(
        ssh_keys.replace, call.account, SshKeyId(asked.id), public_key
    )
    if kept is None:
        raise errors.NoSuchSshKey(f"There is no SSH key {asked.id} among yours.")
    return OneSshKey(key=shown_ssh_key(kept))


async def delete_ssh_key(call: Call, asked: ById) -> Done:
    """Forget a public key; instances that have it keep it."""
    if not await call.services.db.run(
        ssh_keys.delete, call.account, SshKeyId(asked.id), call.now_ms
    ):
        raise errors.NoSuchSshKey(f"There is no SSH key {asked.id} among yours.")
    return Done(msg=f"SSH key {asked.id} is deleted.")
