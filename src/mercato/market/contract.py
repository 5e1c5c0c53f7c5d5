"""The frozen terms of one rental."""

from enum import StrEnum
from typing import Final

import msgspec

from mercato.market.ids import AccountId, ContractId, ListingId, MachineId
from mercato.market.money import (
    NanoUsdPerGb,
    NanoUsdPerGbMonth,
    NanoUsdPerHour,
    storage_rate,
)


class Kind(StrEnum):
    """How a contract stands in line for GPUs."""

    ON_DEMAND = "ondemand"
    RESERVED = "reserved"
    INTERRUPTIBLE = "bid"
    BACKGROUND = "background"
    """The host's own job on GPUs that nobody rents."""


FIRM: Final = frozenset({Kind.ON_DEMAND, Kind.RESERVED})
"""Kinds of contract whose GPUs nobody can take from them."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What renter and host agreed; changed after signing only by an amendment.

    Prices are the renter's, fee included.
    """

    kind: Kind
    gpu: NanoUsdPerHour
    """All GPUs of the slice for an hour; for an interruptible contract, the bid."""
    disk: NanoUsdPerGbMonth
    up: NanoUsdPerGb
    down: NanoUsdPerGb
    disk_mb: int
    platform_fee_ppm: int
    end_at_ms: int | None

    @property
    def storage(self) -> NanoUsdPerHour:
        """What the disk costs an hour."""
        return storage_rate(self.disk, self.disk_mb)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """One rental: who, where, which GPUs, at what terms."""

    id: ContractId
    renter: AccountId
    host: AccountId
    machine: MachineId
    listing: ListingId
    gpus: tuple[int, ...]
    """Indices of its GPUs on the machine; fixed for the contract's life."""
    terms: Terms
    signed_at_ms: int
