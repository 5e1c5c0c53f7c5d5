"""Environment variables of an account, set in every instance it rents; values are shown masked."""

import re
from typing import Final

import msgspec

from mercato.control.api.call import Call, Done, Nothing
from mercato.control.db import Tx
from mercato.control.store import secrets
from mercato.market import errors
from mercato.market.ids import AccountId

MASK: Final = "*****"
VARIABLES_MAX: Final = 200
NAME_MAX: Final = 256
VALUE_MAX: Final = 32_768

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class Variables(msgspec.Struct, frozen=True, kw_only=True):
    """Names and masked values."""

    success: bool = True
    secrets: dict[str, str]


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A name and its value."""

    key: str
    value: str


class VariableName(msgspec.Struct, frozen=True, kw_only=True):
    """A name."""

    key: str


async def list_variables(call: Call, asked: Nothing) -> Variables:  # noqa: ARG001 - nothing is asked
    """List the account's environment variables, values masked."""
    kept = await call.services.db.run(secrets.of_account, call.account)
    return Variables(secrets=dict.fromkeys(kept, MASK))


async def create_variable(call: Call, asked: Variable) -> Done:
    """Keep a new environment variable."""
    name, value = _checked(asked)
    sealed = call.services.house.box.seal(value)
    await call.services.db.run(_create, call.account, name, sealed, call.now_ms)
    return Done(msg=f"{name} is set in instances made from now on.")


def _create(tx: Tx, account: AccountId, name: str, sealed: bytes, now_ms: int) -> None:
    if len(secrets.of_account(tx, account)) >= VARIABLES_MAX:
        raise _TooManyVariables(f"An account has at most {VARIABLES_MAX} variables.")
    if not secrets.create(tx, account, name, sealed, now_ms):
        raise errors.AlreadyExists(f"{name} is there already: update it, or delete it first.")


async def update_variable(call: Call, asked: Variable) -> Done:
    """Change an environment variable."""
    name, value = _checked(asked)
    sealed = call.services.house.box.seal(value)
    if not await call.services.db.run(secrets.update, call.account, name, sealed, call.now_ms):
        raise _NoSuchVariable(f"There is no variable {name}; create it.")
    return Done(msg=f"{name} is changed in instances made from now on.")


async def delete_variable(call: Call, asked: VariableName) -> Done:
    """Forget an environment variable."""
    name = asked.key.strip().upper()
    if not await call.services.db.run(secrets.delete, call.account, name):
        raise _NoSuchVariable(f"There is no variable {name}.")
    return Done(msg=f"{name} is deleted.")


class _NoSuchVariable(errors.InvalidRequest):
    code = "nonexistent_key"


class _EmptyInput(errors.InvalidRequest):
    code = "empty_input"


class _InvalidCharacters(errors.InvalidRequest):
    code = "invalid_characters"


class _TooManyVariables(errors.InvalidRequest):
    code = "max_secrets"


def _checked(asked: Variable) -> tuple[str, str]:
    """The name in capitals, as the shell wants it, and the value."""
    name = asked.key.strip().upper()
    if not name:
        raise _EmptyInput("A variable needs a name.")
    if len(name) > NAME_MAX:
        raise errors.TooLong(f"A variable's name has at most {NAME_MAX} characters.")
    if not _NAME.fullmatch(name):
        raise _InvalidCharacters(
            "A variable's name has letters, digits and underscores, and begins with no digit."
        )
    if len(asked.value.encode()) > VALUE_MAX:
        raise errors.TooLong(f"A value has at most {VALUE_MAX} bytes.")
    if "\x00" in asked.value:
        raise _InvalidCharacters("A value cannot hold a NUL character.")
    return name, asked.value
