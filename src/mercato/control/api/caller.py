"""Whoever asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mercato.market.access import Permission, allows
from mercato.market.ids import AccountId, ApiKeyId, ContractId, MachineId
from mercato.market.limits import Scope

_NONE: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds the key that came with the request."""

    account: AccountId
    key: ApiKeyId
    kind: str
    """`account`, `instance` (acts on its own instance only) or `machine` (an agent)."""
    is_operator: bool
    is_host: bool
    permissions: Mapping[str, Any] | None
    """What the key may; None for all that its account may."""
    contract: ContractId | None = None
    machine: MachineId | None = None
    member: AccountId | None = None
    """The member of a team who asks; `account` is the team's then."""
    role: Mapping[str, Any] | None = None
    """What a member's role may; None for all."""

    @property
    def scopes(self) -> dict[Scope, int]:
        """On whose behalf the caller rents beside the account, for the limits that are on it."""
        member = {} if self.member is None else {Scope.MEMBER: int(self.member)}
        return {Scope.KEY: int(self.key), **member}

    def may(
        self,
        needed: Permission,
        arguments: Mapping[str, object] = _NONE,
        scope: str | None = None,
    ) -> bool:
        """Whether both the key and the member's role cover a permission, or the route `scope`."""
        return all(
            allows(granted, needed, arguments, scope) for granted in (self.permissions, self.role)
        )
