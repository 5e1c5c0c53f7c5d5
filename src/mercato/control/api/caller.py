"""Whoever asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mercato.market.ids import AccountId, ApiKeyId, ContractId, MachineId


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
